"""Which index answers a query: the ranges of row keys to read, in which order, or why none does.

An index serves a filter that compares its first fields for equality (`eq`, `in`), then one more by a range; the rest
of the filter narrows what it finds. It serves an order that goes on where the equal fields end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from .filters import All, Compare, Filter, InvalidQuery, Matches, OneOf, Some
from .indexes import Field, Index, ViewIndexes, counter, encoded
from .properties import Kind, Value

__all__ = ["ALL_ROWS", "MAX_RANGES", "Plan", "Range", "counters_of", "place_order", "plan"]

MAX_KEY = 128
"""Characters of the longest key that a row may have."""
MAX_RANGES = 16
"""Combinations of values that one query looks up: each is one request per shard."""
Tokens = Mapping[tuple[str, Value], Sequence[str]]
"""By a protected field and a value the tokens under which it may be stored."""


@dataclass(frozen=True, slots=True)
class Range:
    """Row keys from `first` to before `end`; what they begin with, `before`, doesn't count for their order."""

    first: str
    end: str
    before: str


ALL_ROWS = (Range("", "%3A", ""), Range("%3B", "\uffff", ""))
"""The rows themselves, before and after everything that is kept beside them."""


def place_order(place: str) -> bytes:
    """As the store compares: by UTF-16, where characters beyond U+FFFF come before some within it."""
    return place.encode("utf-16-be", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered.

    Attributes
    ----------
    ranges:
        Of index entries, or of the rows themselves; merged in the order of what follows `Range.before`.
    keys:
        The keys of all rows that there may be, instead of ranges.
    exact:
        Whatever is in the ranges fits: rows are skipped unseen.
    """

    ranges: tuple[Range, ...] = ()
    keys: tuple[str, ...] | None = None
    exact: bool = False


@dataclass(slots=True)
class _Terms:
    """The conjuncts of a filter by the field that an index may use them for."""

    equal: dict[str, tuple[Value, ...]]
    ranges: dict[str, list[Compare | Matches]]
    rest: int


def plan(declared: ViewIndexes, term: Filter | None, order: Sequence[Field], tokens: Tokens) -> Plan:
    """The plan of a query.

    Raises
    ------
    InvalidQuery
        No index serves it; the message says which declaration would.
    """
    terms = _terms(term)
    for name in [*(one.name for one in order), *terms.ranges]:
        if declared.properties[name].leaf is not None:
            raise InvalidQuery(f"{name} is protected: it is found by its value only, by eq or in")
    fixed = {name for name, values in terms.equal.items() if len(values) == 1}
    wanted = [one for one in order if one.name not in fixed]
    keys = terms.equal.get(declared.key)
    if keys is not None and (len(keys) == 1 or wanted in ([], [Field(declared.key)])):
        return Plan(keys=tuple(sorted((key for key in map(str, keys) if 1 <= len(key) <= MAX_KEY), key=place_order)))
    if term is None and (not wanted or (wanted == [Field(declared.key)] and _is_text(declared))):
        return Plan(ALL_ROWS, exact=True)
    served = [found for index in declared.indexes if (found := _use(declared, index, terms, wanted)) is not None]
    if not served:
        raise InvalidQuery(_why(declared, terms, wanted))
    best = max(served, key=lambda one: (one.equal, one.ranged))
    return best.plan(declared, terms, tokens)


def _is_text(declared: ViewIndexes) -> bool:
    return declared.properties[declared.key].kind is Kind.TEXT


@dataclass(frozen=True, slots=True)
class _Use:
    """An index, how many of its fields are compared for equality, whether the next is by a range, and from where on
    its fields count for the order."""

    index: Index
    equal: int
    ranged: bool
    cut: int

    def plan(self, declared: ViewIndexes, terms: _Terms, tokens: Tokens) -> Plan:
        names = [one.name for one in self.index.fields[: self.equal]]
        stored = [_stored(declared, name, terms.equal[name], tokens) for name in names]
        combined = 1
        for values in stored:
            combined *= len(values)
        if combined > MAX_RANGES:
            raise InvalidQuery(f"$filter: looks up {combined} combinations of values, at most {MAX_RANGES} are")
        used = len(names) + (len(terms.ranges[self.index.fields[self.equal].name]) if self.ranged else 0)
        given = sum(map(len, terms.ranges.values())) + len(terms.equal) + terms.rest
        compared = [value for name in names for value in terms.equal[name]]
        if self.ranged:
            compared += [_compared(one) for one in terms.ranges[self.index.fields[self.equal].name]]
        protected = any(declared.properties[name].leaf is not None for name in names)
        exact = used == given and not protected and not any(encoded(value).cut for value in compared)
        ranges = dict.fromkeys(self._range(values, terms) for values in product(*stored))  # two may begin alike
        return Plan(tuple(ranges), exact=exact)

    def _range(self, values: Sequence[Value], terms: _Terms) -> Range:
        parts = [one.part(value) for one, value in zip(self.index.fields, values, strict=False)]
        at = self.index.prefix + "".join(parts)
        before = self.index.prefix + "".join(parts[: self.cut])
        if not self.ranged:
            return Range(at, at + "\uffff", before)
        ranged = self.index.fields[self.equal]
        bounds = [_bounds(ranged, one) for one in terms.ranges[ranged.name]]
        return Range(at + max(first for first, _ in bounds), at + min(end for _, end in bounds), before)


def _compared(term: Compare | Matches) -> Value:
    return term.text if isinstance(term, Matches) else term.value


def _bounds(ranged: Field, term: Compare | Matches) -> tuple[str, str]:
    return ranged.begins(term.text) if isinstance(term, Matches) else ranged.bounds(term.operator, term.value)


def _stored(declared: ViewIndexes, name: str, values: Sequence[Value], tokens: Tokens) -> list[Value]:
    if declared.properties[name].leaf is None:
        return list(values)
    found: list[Value] = []
    for value in values:
        found += [None] if value is None else tokens.get((name, value), (str(value),))
    return list(dict.fromkeys(found))


def _use(declared: ViewIndexes, index: Index, terms: _Terms, wanted: Sequence[Field]) -> _Use | None:
    fields = index.fields
    equal = 0
    while equal < len(fields) and fields[equal].name in terms.equal:
        equal += 1
    ranged = equal < len(fields) and fields[equal].name in terms.ranges
    has_filter = bool(terms.equal or terms.ranges or terms.rest)
    if has_filter and not equal and not ranged:
        return None
    last = [Field(declared.key)] if _is_text(declared) else []
    for cut in range(equal, -1, -1):
        there = [one for one in fields[cut:] if len(terms.equal.get(one.name, ())) != 1]
        if list(wanted) == [*there, *last][: len(wanted)]:
            return _Use(index, equal, ranged, cut)
    return None


def _terms(term: Filter | None) -> _Terms:
    found = _Terms({}, {}, 0)
    for one in _conjuncts(term):
        match one:
            case Compare(name, "eq", value) if name not in found.equal:
                found.equal[name] = (value,)
            case OneOf(name, values) if name not in found.equal:
                found.equal[name] = values
            case Compare(name, "gt" | "ge" | "lt" | "le", value) if value is not None:
                found.ranges.setdefault(name, []).append(one)
            case Matches("startswith", name, _):
                found.ranges.setdefault(name, []).append(one)
            case _:
                found.rest += 1
    return found


def _conjuncts(term: Filter | None) -> Iterator[Filter]:
    match term:
        case None:
            return
        case All(terms):
            for one in terms:
                yield from _conjuncts(one)
        case Some(terms) if (same := _one_of(terms)) is not None:
            yield same
        case _:
            yield term


def _one_of(terms: Sequence[Filter]) -> OneOf | None:
    """`a eq 1 or a eq 2` is `a in (1,2)`."""
    values: list[Value] = []
    names: set[str] = set()
    for one in terms:
        match one:
            case Compare(name, "eq", value):
                values.append(value)
            case OneOf(name, several):
                values += several
            case _:
                return None
        names.add(name)
    return OneOf(names.pop(), tuple(dict.fromkeys(values))) if len(names) == 1 else None


def _why(declared: ViewIndexes, terms: _Terms, wanted: Sequence[Field]) -> str:
    """The refusal: what there is, and what would have to be declared."""
    known = ", ".join(map(str, declared.indexes)) or "none"
    equal = sorted(terms.equal, key=lambda name: name in {one.name for one in wanted})
    then = [str(one) for one in wanted if one.name not in terms.equal] or list(terms.ranges)[:1]
    names = tuple(dict.fromkeys([*(name for name in equal if name != declared.key), *then]))[:3]
    if not names:
        return (
            f"no index of {declared.view} serves this query (there are: {known}): ne, not, or, contains and endswith "
            "only narrow what eq, in, gt, ge, lt, le or startswith of an indexed field find"
        )
    suggestion = Index(tuple(Field(name.removeprefix("-"), name.startswith("-")) for name in names))
    return (
        f"no index of {declared.view} serves this query (there are: {known}); it would be served by "
        f'projects(…, into="{declared.view}", find_by=[…, {suggestion}])'
    )


def counters_of(declared: ViewIndexes, term: Filter | None) -> list[str]:
    """The row keys of the counters whose sum is the number of rows that fit a filter.

    Raises
    ------
    InvalidQuery
        No counter is kept for it.
    """
    terms = _terms(term)
    names = tuple(sorted(terms.equal))
    if terms.rest or terms.ranges or names not in declared.counted:
        kept = "; ".join(" and ".join(one) for one in declared.counted if one) or "nothing"
        raise InvalidQuery(f"$count: rows are counted all together and by equality of: {kept}")
    return [counter(names, values) for values in product(*(terms.equal[name] for name in names))]
