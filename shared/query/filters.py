"""`$filter`: its grammar, and what it says of a row.

The grammar is a part of OData's ("URL Conventions 4.01", 5.1.1): comparisons of a field with a literal, `in`, `and`,
`or`, `not`, `contains`, `startswith`, `endswith`. Length and nesting are bounded before anything is parsed. Null is as
OData has it: a comparison with it is true or false, a function of it is null, and only what is true is shown.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from .properties import Kind, Property, Value

__all__ = ["All", "Compare", "Filter", "InvalidQuery", "Matches", "Not", "OneOf", "Some", "holds", "parse_filter"]

MAX_LENGTH, MAX_DEPTH, MAX_TERMS = 4_096, 16, 100


class InvalidQuery(ValueError):
    """A query can't be answered; the message says why, and names the option."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A field and a value: eq, ne, gt, ge, lt or le."""

    name: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """A field has one of some values."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """`contains`, `startswith` or `endswith` of a text field."""

    function: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    term: "Filter"


@dataclass(frozen=True, slots=True)
class All:
    """Conjunction."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Disjunction."""

    terms: tuple["Filter", ...]


Filter = Compare | OneOf | Matches | Not | All | Some


class _Token(NamedTuple):
    kind: str
    text: str


_TOKENS = re.compile(
    r"(?P<space>\s+)|(?P<text>'(?:[^']|'')*')|(?P<open>\()|(?P<close>\))|(?P<comma>,)"
    r"|(?P<guid>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-]))"
    r"|(?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?(?:Z|[+-]\d\d:\d\d)(?![\w:.-]))"
    r"|(?P<day>\d{4}-\d\d-\d\d(?![\w:.-]))"
    r"|(?P<number>[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?(?![\w.]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
)
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_FUNCTIONS = ("contains", "startswith", "endswith")


def parse_filter(text: str, properties: Mapping[str, Property]) -> Filter:
    """What `$filter` says of rows with some fields.

    Raises
    ------
    InvalidQuery
    """
    return _Parser(_tokens(text), properties).whole()


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(f"$filter: has {len(text)} characters, at most {MAX_LENGTH} are read")
    found: list[_Token] = []
    place = depth = 0
    while place < len(text):
        match = _TOKENS.match(text, place)
        if match is None:
            raise InvalidQuery(f"$filter: can't be read from character {place + 1} on")
        place, kind = match.end(), str(match.lastgroup)
        depth += (kind == "open") - (kind == "close")
        if depth > MAX_DEPTH:
            raise InvalidQuery(f"$filter: is nested deeper than {MAX_DEPTH} parentheses")
        if kind != "space":
            found.append(_Token(kind, match[0]))
    return found


class _Parser:
    def __init__(self, tokens: list[_Token], properties: Mapping[str, Property]) -> None:
        self._tokens = [*tokens, _Token("end", "the end")]
        self._place = 0
        self._terms = 0
        self._properties = properties

    def whole(self) -> Filter:
        found = self._either()
        if self._peek().kind != "end":
            raise self._unexpected("and, or, or the end")
        return found

    def _peek(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._tokens[self._place]
        self._place += token.kind != "end"
        return token

    def _unexpected(self, wanted: str) -> InvalidQuery:
        return InvalidQuery(f"$filter: expected {wanted} before {self._peek().text[:40]!r}")

    def _take(self, kind: str, wanted: str) -> str:
        if self._peek().kind != kind:
            raise self._unexpected(wanted)
        return self._next().text

    def _word(self, *words: str) -> bool:
        return self._peek().kind == "name" and self._peek().text in words

    def _either(self) -> Filter:
        terms = [self._both()]
        while self._word("or"):
            self._next()
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Some(tuple(terms))

    def _both(self) -> Filter:
        terms = [self._negated()]
        while self._word("and"):
            self._next()
            terms.append(self._negated())
        return terms[0] if len(terms) == 1 else All(tuple(terms))

    def _negated(self) -> Filter:
        negations = 0
        while self._word("not"):
            self._next()
            negations += 1
        found = self._term()
        return Not(found) if negations % 2 else found if not negations else Not(Not(found))

    def _term(self) -> Filter:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise InvalidQuery(f"$filter: has more than {MAX_TERMS} terms")
        if self._peek().kind == "open":
            self._next()
            found = self._either()
            self._take("close", "a closing parenthesis")
            return found
        if self._word(*_FUNCTIONS) and self._tokens[self._place + 1].kind == "open":
            return self._function()
        return self._comparison()

    def _function(self) -> Filter:
        function = self._next().text
        self._take("open", "an opening parenthesis")
        prop = self._field()
        if prop.kind is not Kind.TEXT:
            raise InvalidQuery(f"$filter: {function} is of texts, {prop.name} is {prop.kind}")
        self._take("comma", "a comma")
        text = self._take("text", "a text in quotes")
        self._take("close", "a closing parenthesis")
        return Matches(function, prop.name, _unquoted(text))

    def _field(self) -> Property:
        name = self._take("name", "the name of a field")
        prop = self._properties.get(name)
        if prop is None:
            raise InvalidQuery(f"$filter: there is no field {name[:64]}")
        if not prop.kind.comparable:
            raise InvalidQuery(f"$filter: {name} can't be compared")
        return prop

    def _comparison(self) -> Filter:
        prop = self._field()
        operator = self._take("name", "eq, ne, gt, ge, lt, le or in")
        if operator == "in":
            return OneOf(prop.name, self._values(prop))
        if operator not in ("eq", "ne", *_COMPARISONS):
            raise InvalidQuery(f"$filter: there is no operator {operator[:40]}")
        value = self._literal(prop)
        if prop.kind is Kind.BOOLEAN and operator in _COMPARISONS:
            raise InvalidQuery(f"$filter: {prop.name} is true or false: use eq or ne")
        return Compare(prop.name, operator, value)

    def _values(self, prop: Property) -> tuple[Value, ...]:
        self._take("open", "an opening parenthesis")
        values = [self._literal(prop)]
        while self._peek().kind == "comma":
            self._next()
            values.append(self._literal(prop))
        self._take("close", "a closing parenthesis")
        self._terms += len(values) - 1
        if self._terms > MAX_TERMS:
            raise InvalidQuery(f"$filter: has more than {MAX_TERMS} terms")
        return tuple(dict.fromkeys(values))

    def _literal(self, prop: Property) -> Value:
        kind, text = self._next()
        try:
            return _value(kind, text, prop)
        except (ValueError, OverflowError):
            raise InvalidQuery(f"$filter: {text[:64]} is no value of {prop.name}, which is {prop.kind}") from None


def _value(kind: str, text: str, prop: Property) -> Value:
    """A literal of a field's type; a day stands for its first moment in UTC."""
    match kind, prop.kind:
        case "name", _ if text == "null":
            return None
        case "name", Kind.BOOLEAN if text in ("true", "false"):
            return text == "true"
        case "text", Kind.TEXT:
            return _unquoted(text)
        case "guid", Kind.GUID:
            return str(UUID(text))
        case "number", kind_ if kind_.numeric:
            return Decimal(text)
        case "moment", Kind.MOMENT:
            return datetime.fromisoformat(_micro(text)).astimezone(UTC)
        case "day", Kind.MOMENT:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        case "day", Kind.DAY:
            return date.fromisoformat(text)
    raise ValueError(text)


def _micro(text: str) -> str:
    """Digits of a second beyond the sixth say nothing here."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")


def holds(term: Filter, row: Mapping[str, Any], properties: Mapping[str, Property]) -> bool | None:
    """Whether a filter is true of a row's JSON; None is OData's null."""
    match term:
        case Compare(name, "eq", value):
            return properties[name].read(row.get(name)) == value
        case Compare(name, "ne", value):
            return properties[name].read(row.get(name)) != value
        case Compare(name, operator, value):
            found = properties[name].read(row.get(name))
            return found is not None and value is not None and _COMPARISONS[operator](found, value)
        case OneOf(name, values):
            return properties[name].read(row.get(name)) in values
        case Matches(function, name, text):
            return _matches(function, row.get(name), text)
        case Not(inner):
            found = holds(inner, row, properties)
            return None if found is None else not found
        case All(terms):
            return _all([holds(one, row, properties) for one in terms])
        case Some(terms):
            denied = _all([None if one is None else not one for one in (holds(t, row, properties) for t in terms)])
            return None if denied is None else not denied


def _matches(function: str, found: Any, text: str) -> bool | None:
    if not isinstance(found, str):
        return None
    match function:
        case "contains":
            return text in found
        case "startswith":
            return found.startswith(text)
        case _:
            return found.endswith(text)


def _all(found: list[bool | None]) -> bool | None:
    """False wins over null, and null over true."""
    return False if False in found else None if None in found else True


def names_in(term: Filter) -> frozenset[str]:
    """The fields that a filter is about."""
    match term:
        case Compare(name=name) | OneOf(name=name) | Matches(name=name):
            return frozenset({name})
        case Not(inner):
            return names_in(inner)
        case All(terms) | Some(terms):
            return frozenset().union(*map(names_in, terms))
