"""Python types for the AMQP 1.0 types that have no counterpart of their own in Python.

Natural counterparts: null `None`, boolean `bool`, long `int`, double `float`, string `str`, binary `bytes`,
uuid `uuid.UUID`, list `list`, map `dict`. Everything else has a class here, so that a decoded value
encodes back to the same AMQP type (types specification, part 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "Array",
    "Byte",
    "Char",
    "Decimal32",
    "Decimal64",
    "Decimal128",
    "Described",
    "Fields",
    "Float",
    "Int",
    "Raw",
    "Short",
    "Symbol",
    "Timestamp",
    "UByte",
    "UInt",
    "ULong",
    "UShort",
]


class Symbol(str):
    """A name from a constrained domain, ASCII only."""

    __slots__ = ()


class Char(str):
    """One Unicode code point."""

    __slots__ = ()


class UByte(int):
    """Integer in 0..2^8-1."""

    __slots__ = ()


class UShort(int):
    """Integer in 0..2^16-1."""

    __slots__ = ()


class UInt(int):
    """Integer in 0..2^32-1."""

    __slots__ = ()


class ULong(int):
    """Integer in 0..2^64-1."""

    __slots__ = ()


class Byte(int):
    """Integer in -2^7..2^7-1."""

    __slots__ = ()


class Short(int):
    """Integer in -2^15..2^15-1."""

    __slots__ = ()


class Int(int):
    """Integer in -2^31..2^31-1."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since the Unix epoch, UTC."""

    __slots__ = ()


class Float(float):
    """A 32-bit IEEE 754 number."""

    __slots__ = ()


class Decimal32(bytes):
    """The four bytes of an IEEE 754 decimal32, not interpreted."""

    __slots__ = ()
    WIDTH: ClassVar[int] = 4


class Decimal64(bytes):
    """The eight bytes of an IEEE 754 decimal64, not interpreted."""

    __slots__ = ()
    WIDTH: ClassVar[int] = 8


class Decimal128(bytes):
    """The sixteen bytes of an IEEE 754 decimal128, not interpreted."""

    __slots__ = ()
    WIDTH: ClassVar[int] = 16


class Fields(dict[Symbol, Any]):
    """A map from symbols to values, as the specification calls `fields` and `annotations` (2.8.13, 3.2.10).

    Keys become symbols here, so that no map of that type can leave with strings in it: clients that look a key up
    as a symbol would not find them.

    Raises
    ------
    TypeError
        If a key is not text.
    """

    __slots__ = ()

    def __init__(self, items: Mapping[Any, Any]) -> None:
        for key in items:
            if not isinstance(key, str):
                raise TypeError(f"a map of fields has symbols as keys, not {type(key).__name__}")
        super().__init__({Symbol(key): value for key, value in items.items()})


class Raw(bytes):
    """A value that is encoded already: written as it is, never decoded to."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor, usually a `ULong` code or a `Symbol`."""

    descriptor: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Array:
    """Values of one type. `code` is that type's widest constructor byte, kept so that () has a type."""

    code: int
    items: tuple[Any, ...]
    descriptor: Any = None
