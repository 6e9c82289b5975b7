"""The column types of silver, read from a pydantic model's annotations, and the values that they take.

A value either fits exactly or not at all: a number is never rounded, a text is never read as a number.
"""

import json
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    FutureDate,
    FutureDatetime,
    NaiveDatetime,
    PastDate,
    PastDatetime,
    RootModel,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from arro3.core import DataType

__all__ = ["TEXT", "Column", "Misfit", "Type", "bare_type", "json_name", "of_annotation"]

DIGITS, PLACES = 38, 9
"""Of a decimal whose model states no precision: all that an Arrow decimal has, and 9 of them behind the point."""
_LONGEST = 64
"""Characters of a number as text."""
_FAR = 200
"""No decimal of a column is so large or so small."""


class Misfit(ValueError):
    """A value doesn't fit its column; the message says why, and doesn't repeat the value."""


@dataclass(frozen=True)
class Type:
    """A column type.

    Attributes
    ----------
    name:
        `string`, `long`, `double`, `boolean`, `timestamp` (µs, UTC), `date`, `decimal`, `json` (any JSON, as a text),
        `text` (a text as it is, all else as JSON), `list` or `struct`.
    precision, scale:
        Of a decimal: digits in all, and behind the point.
    element:
        Of a list.
    fields:
        Of a struct.
    """

    name: str
    precision: int = 0
    scale: int = 0
    element: "Type | None" = None
    fields: "tuple[Column, ...]" = ()

    def arrow(self) -> "DataType":
        """The Arrow type."""
        from arro3.core import DataType, Field

        if self.name == "decimal":
            return DataType.decimal128(self.precision, self.scale)
        if self.element is not None:
            return DataType.list(Field("element", self.element.arrow(), nullable=True))
        if self.name == "struct":
            return DataType.struct([Field(one.name, one.type.arrow(), nullable=True) for one in self.fields])
        made: dict[str, Callable[[], DataType]] = {
            "string": DataType.string,
            "json": DataType.string,
            "text": DataType.string,
            "long": DataType.int64,
            "double": DataType.float64,
            "boolean": DataType.bool,
            "timestamp": lambda: DataType.timestamp("us", tz="UTC"),
            "date": DataType.date32,
        }
        return made[self.name]()

    def fit(self, value: Any) -> Any:
        """A value of parsed JSON in the form from which the Arrow library reads the column; None stays None.

        Raises
        ------
        Misfit
        """
        return None if value is None else self.read(value)

    @cached_property
    def read(self) -> Callable[[Any], Any]:
        """`fit` for what isn't None."""
        return partial(_FITS[self.name], self)

    @cached_property
    def plain(self) -> re.Pattern[str]:
        """A decimal that fits as it is written."""
        return re.compile(rf"-?0*[0-9]{{0,{self.precision - self.scale}}}(\.[0-9]{{0,{self.scale}}}0*)?")


TEXT = Type("string")
_JSON = Type("json")


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes
    ----------
    name:
        Of the column.
    path:
        JSON names that lead to the value.
    required:
        The model demands it.
    """

    name: str
    path: tuple[str, ...]
    type: Type
    required: bool = False


def of_annotation(annotation: Any, metadata: Sequence[Any] = ()) -> Type:
    """The type of a field; what has no type of its own, such as a union, is kept as JSON."""
    bare, more = _bare(annotation)
    known = [*metadata, *more]
    members = [one for one in get_args(bare) if one is not types.NoneType] if get_origin(bare) in _UNIONS else [bare]
    if len(members) != 1:
        return _JSON
    if members[0] is not bare:
        return of_annotation(members[0], known)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is Literal:
        return _of_values(arguments)
    if origin in (list, set, frozenset, Sequence) or (origin is tuple and arguments[1:] == (Ellipsis,)):
        return Type("list", element=of_annotation(arguments[0]))
    if not isinstance(bare, type) or origin is not None:
        return _JSON
    if any(isinstance(one, WithJsonSchema) and one.json_schema and one.json_schema.get("format") == "date-time"
           for one in known):  # fmt: skip
        return Type("timestamp")
    return _of_class(bare, known)


def bare_type(annotation: Any) -> Any:
    """A type without its metadata, and without None where it is optional."""
    bare, _ = _bare(annotation)
    members = [one for one in get_args(bare) if one is not types.NoneType] if get_origin(bare) in _UNIONS else []
    return bare_type(members[0]) if len(members) == 1 else bare


def _of_class(kind: type, metadata: Sequence[Any]) -> Type:
    if issubclass(kind, RootModel):
        return of_annotation(kind.model_fields["root"].annotation)
    if issubclass(kind, BaseModel):
        fields = [Column(name, (json_name(name, info),), of_annotation(info.annotation, info.metadata))
                  for name, info in kind.model_fields.items()]  # fmt: skip
        return Type("struct", fields=tuple(fields)) if fields else _JSON
    if issubclass(kind, Enum):
        return _of_values([one.value for one in kind])
    if kind is Decimal:
        digits, places = _stated(metadata, "max_digits"), _stated(metadata, "decimal_places")
        if digits is None and places is None:
            return Type("decimal", DIGITS, PLACES)
        places = PLACES if places is None else places
        return Type("decimal", min(DIGITS, digits or DIGITS), min(places, digits or DIGITS))
    for python, name in _CLASSES.items():
        if issubclass(kind, python):
            return Type(name)
    return _JSON


def json_name(name: str, info: FieldInfo) -> str:
    """The name under which a field is published."""
    return info.serialization_alias or info.alias or name


def _of_values(values: Sequence[Any]) -> Type:
    if all(isinstance(one, str) for one in values):
        return TEXT
    if all(type(one) is int for one in values):
        return Type("long")
    return Type("boolean") if all(type(one) is bool for one in values) else _JSON


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    metadata: tuple[Any, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            metadata += annotation.__metadata__
            annotation = annotation.__origin__
        elif hasattr(annotation, "__value__"):  # type X = …
            annotation = annotation.__value__
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ or Any
        else:
            return annotation, tuple(_flat(metadata))


def _flat(metadata: Sequence[Any]) -> Sequence[Any]:
    return [one for entry in metadata for one in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]


def _stated(metadata: Sequence[Any], name: str) -> int | None:
    found = [getattr(one, name, None) for one in metadata if not isinstance(one, type)]
    return next((int(one) for one in found if one is not None), None)


def _text(_: Type, value: Any) -> str:
    if not isinstance(value, str):
        raise Misfit("is no text")
    return value


def _long(_: Type, value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Misfit("is no whole number of 64 bits")
    return value


def _double(_: Type, value: Any) -> float:
    if type(value) not in (int, float, Decimal):
        raise Misfit("is no number")
    try:
        return float(value)
    except OverflowError:
        raise Misfit("is no number that a double holds") from None


def _boolean(_: Type, value: Any) -> bool:
    if type(value) is not bool:
        raise Misfit("is neither true nor false")
    return value


def _decimal(kind: Type, value: Any) -> str:
    text = repr(value) if type(value) is float else str(value)  # a float of strict JSON means what its text says
    if type(value) not in (str, int, float, Decimal) or len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        raise Misfit("is no decimal number")
    if kind.plain.fullmatch(text):
        return text
    number = Decimal(text)
    whole, _, fraction = f"{number:f}".partition(".") if -_FAR < number.adjusted() < _FAR else (text, "", "")
    fraction = fraction.rstrip("0")
    plain = f"{whole}.{fraction}" if fraction else whole
    if not kind.plain.fullmatch(plain):
        raise Misfit(f"has more than {kind.precision - kind.scale} digits before the point or {kind.scale} behind it")
    return plain


def _timestamp(_: Type, value: Any) -> str:
    try:
        moment = datetime.fromisoformat(_text(TEXT, value))
        if _IN_UTC.fullmatch(value):
            return str(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    except (ValueError, OverflowError):
        raise Misfit("is no time as RFC 3339 writes it") from None


def _date(_: Type, value: Any) -> str:
    try:
        return date.fromisoformat(_text(TEXT, value)).isoformat()
    except ValueError:
        raise Misfit("is no date") from None


def _as_json(_: Type, value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _as_text(kind: Type, value: Any) -> str:
    return value if isinstance(value, str) else _as_json(kind, value)


def _list(kind: Type, value: Any) -> list[Any]:
    if not isinstance(value, list) or kind.element is None:
        raise Misfit("is no list")
    read = kind.element.read
    return [None if one is None else read(one) for one in value]


def _struct(kind: Type, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misfit("is no object")
    found = {}
    for column in kind.fields:
        given = value.get(column.path[0])
        try:
            found[column.name] = None if given is None else column.type.read(given)
        except Misfit as error:
            raise Misfit(f"{column.name} {error}") from None
    return found


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_IN_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_UNIONS = (Union, types.UnionType)
_CLASSES: dict[type, str] = {
    **dict.fromkeys((AwareDatetime, NaiveDatetime, FutureDatetime, PastDatetime), "timestamp"),
    **dict.fromkeys((FutureDate, PastDate), "date"),
    bool: "boolean",
    int: "long",
    float: "double",
    datetime: "timestamp",
    date: "date",
    str: "string",
    bytes: "string",
    UUID: "string",
    time: "string",
    timedelta: "string",
}
"""In an order in which a subclass comes before its base."""
_FITS: dict[str, Callable[[Type, Any], Any]] = {
    "string": _text,
    "json": _as_json,
    "text": _as_text,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
    "decimal": _decimal,
    "list": _list,
    "struct": _struct,
}
