"""Declared indexes: how the values of a row become the row keys of its entries, so that entries sort as values do.

An entry's key is `%3A%3A<index>!<value><end>…<key>`. A value is written in the characters 0-9 and A-V in an order that
text comparison keeps; a descending one is complemented character by character. Texts beyond 48 bytes and numbers
beyond 40 digits sort by their beginning: whatever an entry leads to is looked at before it is shown.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from shared.encryption import is_encrypted_text
from shared.privacy import token_name
from shared.state import row_safe

from .properties import Kind, Property, Value

__all__ = ["Encoded", "Field", "FindBy", "Index", "ViewIndexes", "WrongIndex", "encoded", "parse_index"]

MAX_INDEXES, MAX_FIELDS = 8, 3
"""Of a view, and of an index: what an entry's key, and the transaction of one row, have room for."""
FindBy = Sequence[str | Sequence[str]]
"""What a team declares: names of fields, or several in their order; a minus before one: greatest first."""

ENTRY, COUNTER, MARKER = "%3A%3A", "%3A%3B", "%3A%3C"
"""How the row keys of entries, of counters and of the mark that all rows have entries begin."""
_TEXT, _DIGITS, _LONGEST_KEY = 48, 40, 128
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
_COMPLEMENT = str.maketrans(_ALPHABET, _ALPHABET[::-1])
_END, _AFTER = {False: "!", True: "Z"}, {False: '"', True: "["}
_BIAS = 5_000
_COUNTED = (Kind.TEXT, Kind.BOOLEAN, Kind.GUID)


class WrongIndex(TypeError):
    """A declared index can't be kept; the message names it."""


class Encoded(NamedTuple):
    """A value as part of a row key; `cut` where greater values may have the same text."""

    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an index."""

    name: str
    descending: bool = False

    def __str__(self) -> str:
        return f"-{self.name}" if self.descending else self.name

    def part(self, value: Value) -> str:
        """A value with its end, as it stands in a row key."""
        text = encoded(value).text
        return (text.translate(_COMPLEMENT) if self.descending else text) + _END[self.descending]

    def bounds(self, operator: str, value: Value) -> tuple[str, str]:
        """The first text and the one after the last of values that are gt, ge, lt or le a value; not those of null."""
        text, cut = encoded(value)
        text = text.translate(_COMPLEMENT) if self.descending else text
        at, after = text + _END[self.descending], text + _AFTER[self.descending]
        strict = operator in ("gt", "lt") and not cut  # what has the same beginning may be greater or less
        if (operator in ("gt", "ge")) != self.descending:
            return (after if strict else at), "V" if self.descending else "2"
        return "" if self.descending else "1", (at if strict else after)

    def begins(self, text: str) -> tuple[str, str]:
        """The first text and the one after the last of values that begin with a text."""
        data = text.encode("utf-8", "surrogatepass")[:_TEXT]
        least, most = _base32(data), _base32(data + b"\xff" * (_TEXT - len(data)))
        if self.descending:
            return f"1{most}".translate(_COMPLEMENT), f"1{least}".translate(_COMPLEMENT) + _AFTER[True]
        return f"1{least}", f"1{most}{_AFTER[False]}"


@dataclass(frozen=True)
class Index:
    """An ordered list of fields by which rows are found."""

    fields: tuple[Field, ...]

    def __str__(self) -> str:
        names = [f'"{one}"' for one in self.fields]
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    @cached_property
    def prefix(self) -> str:
        """What the row keys of all its entries begin with."""
        return f"{ENTRY}{','.join(map(str, self.fields))}!"

    def entry(self, values: Mapping[str, Value], key: str) -> str:
        """The row key of a row's entry."""
        return self.prefix + "".join(one.part(values[one.name]) for one in self.fields) + key_part(key)


@dataclass(frozen=True)
class ViewIndexes:
    """What is declared for a view.

    Attributes
    ----------
    key:
        The field that holds a row's key.
    counted:
        The sets of fields by whose values rows are counted; the empty one counts all.
    """

    view: str
    key: str
    properties: Mapping[str, Property]
    indexes: tuple[Index, ...]

    @cached_property
    def counted(self) -> tuple[tuple[str, ...], ...]:
        """Beginnings of the indexes: fields that have few values, by their type."""
        found: dict[tuple[str, ...], None] = {(): None}
        for index in self.indexes:
            names: tuple[str, ...] = ()
            for one in index.fields[: max(1, len(index.fields) - 1)]:
                prop = self.properties[one.name]
                if prop.leaf is not None or prop.kind not in _COUNTED:
                    break
                names = (*names, one.name)
                found[tuple(sorted(names))] = None
        return tuple(found)

    @property
    def writes(self) -> int:
        """Index rows and counters of one row."""
        return len(self.indexes) + len(self.counted)

    def values(self, row: Mapping[str, Any]) -> dict[str, Value]:
        """By field what a stored row is found by: a protected field by its token, and never in clear beside keys."""
        return {name: self._value(self.properties[name], row) for name in self._names}

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(one.name for index in self.indexes for one in index.fields)

    @staticmethod
    def _value(prop: Property, row: Mapping[str, Any]) -> Value:
        found = row.get(prop.name)
        if prop.leaf is None:
            return prop.read(found)
        token = row.get(token_name(prop.name))
        if token is not None:
            return str(token)
        return None if found is None or (isinstance(found, str) and is_encrypted_text(found)) else str(found)

    def entries(self, row: Any, key: str) -> tuple[list[str], list[str]]:
        """Row keys of a stored row's index entries, and of the counters that count it."""
        values = self.values(row if isinstance(row, dict) else {})
        entries = [index.entry(values, key) for index in self.indexes]
        return entries, [counter(names, [values[name] for name in names]) for names in self.counted]

    @cached_property
    def declaration(self) -> str:
        """A hash of all of it: another one asks for the entries of all rows anew."""
        kinds = [(name, self.properties[name].kind.value) for name in sorted(self._names)]
        return hashlib.sha256(repr((list(map(str, self.indexes)), kinds)).encode()).hexdigest()[:32]


def counter(names: Sequence[str], values: Sequence[Value]) -> str:
    """The row key of the counter of rows in which some fields have some values."""
    digest = hashlib.sha256(repr(list(values)).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{COUNTER}{','.join(names)}!{digest[:32]}"


def parse_index(declared: str | Sequence[str], where: str) -> Index:
    """An index as it is declared.

    Raises
    ------
    WrongIndex
    """
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    fields = tuple(Field(name.removeprefix("-"), name.startswith("-")) for name in names)
    if not 1 <= len(fields) <= MAX_FIELDS or len({one.name for one in fields}) < len(fields):
        raise WrongIndex(f"{where}: find_by: {declared!r}: an index has 1 to {MAX_FIELDS} different fields")
    if any(not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,31}", one.name) for one in fields):
        raise WrongIndex(f"{where}: find_by: {declared!r}: a field's name has 1 to 32 letters, digits and underscores")
    return Index(fields)


def encoded(value: Value) -> Encoded:
    """A value as text that sorts as the value does: null first."""
    match value:
        case None:
            return Encoded("0")
        case bool():
            return Encoded("11" if value else "10")
        case str():
            data = value.encode("utf-8", "surrogatepass")
            return Encoded("1" + _base32(data[:_TEXT]), len(data) >= _TEXT)
        case Decimal():
            return _number(value)
        case datetime():
            return Encoded(f"1{value.year:04d}{value:%m%d%H%M%S%f}")
        case date():
            return Encoded(f"1{value.year:04d}{value:%m%d}")


def _base32(data: bytes) -> str:
    return base64.b32hexencode(data).decode().rstrip("=")


def _number(value: Decimal) -> Encoded:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return Encoded("11")
    size = min(max(len(text) + int(exponent) - 1, 1 - _BIAS), _BIAS - 1) + _BIAS
    text = text.rstrip("0")
    cut = len(text) >= _DIGITS
    written = f"{size:04d}{text[:_DIGITS]}"
    if sign:
        return Encoded("10" + written.translate(_COMPLEMENT) + ("" if cut else "V"), cut)
    return Encoded("12" + written, cut)


def key_part(key: str) -> str:
    """A row's key at the end of an entry's."""
    safe = row_safe(key)
    if len(safe.encode("utf-16-le")) <= 2 * _LONGEST_KEY:
        return safe
    return f"{safe[:40]}~{hashlib.sha256(key.encode()).hexdigest()[:32]}"
