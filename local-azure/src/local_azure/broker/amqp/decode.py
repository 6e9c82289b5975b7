"""Bytes to values: any bytes give a value or a `DecodeError`, in bounded time, memory and depth."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from local_azure.broker.amqp.errors import DecodeError
from local_azure.broker.amqp.types import (
    Array,
    Byte,
    Char,
    Decimal32,
    Decimal64,
    Decimal128,
    Described,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

__all__ = ["MAX_DEPTH", "decode", "decode_fields", "decode_one", "skip"]

MAX_DEPTH = 32
"""Levels of nesting that are followed; real messages use fewer than ten."""

_MAX_EMPTY_ITEMS = 4096
"""Array items that take no bytes (null, true, list0 ...) cost memory all the same, so they are counted."""

Decoder = Callable[[bytes, int, int, int], tuple[Any, int]]

_u16 = struct.Struct(">H").unpack_from
_u32 = struct.Struct(">I").unpack_from
_u64 = struct.Struct(">Q").unpack_from
_i8 = struct.Struct(">b").unpack_from
_i16 = struct.Struct(">h").unpack_from
_i32 = struct.Struct(">i").unpack_from
_i64 = struct.Struct(">q").unpack_from
_f32 = struct.Struct(">f").unpack_from
_f64 = struct.Struct(">d").unpack_from


def decode_one(data: bytes) -> Any:
    """Decode exactly one value.

    Raises
    ------
    DecodeError
        If the bytes are not one AMQP value, or more follow it.
    """
    value, position = decode(data, 0, len(data))
    if position != len(data):
        raise DecodeError(f"{len(data) - position} bytes follow the value")
    return value


def decode(data: bytes, position: int, end: int, depth: int = 0) -> tuple[Any, int]:
    """Decode the value at `position`; bytes at `end` and beyond are not looked at."""
    if position >= end:
        raise DecodeError("The value ends too soon")
    code = data[position]
    if code == 0:
        return _described(data, position + 1, end, depth)
    decoder = _DECODERS[code]
    if decoder is None:
        raise DecodeError(f"0x{code:02x} is not an AMQP 1.0 constructor")
    return decoder(data, position + 1, end, depth)


def decode_fields(data: bytes, position: int, end: int) -> tuple[list[Any], list[int]]:
    """Decode the list at `position` into its values and their bounds (one more than values)."""
    _, start, stop, count = _compound(data, position, end)
    values: list[Any] = []
    bounds = [start]
    for _ in range(count):
        value, start = decode(data, start, stop, 1)
        values.append(value)
        bounds.append(start)
    if start != stop:
        raise DecodeError("A list is longer than its items")
    return values, bounds


def skip(data: bytes, position: int, end: int, depth: int = 0) -> int:
    """Position after the value at `position`, without decoding what is inside it."""
    if position >= end:
        raise DecodeError("The value ends too soon")
    if depth >= MAX_DEPTH:
        raise DecodeError(f"Values are nested more than {MAX_DEPTH} deep")
    code = data[position]
    if code == 0:
        position = skip(data, position + 1, end, depth + 1)
        return skip(data, position, end, depth + 1)
    width = code >> 4
    after = position + 1
    if width in _FIXED_WIDTHS:
        after += _FIXED_WIDTHS[width]
    elif width in (0xA, 0xC, 0xE):
        after += 1 + (data[after] if after < end else 0)
    elif width in (0xB, 0xD, 0xF):
        after += 4 + (_u32(data, after)[0] if after + 4 <= end else 0)
    else:
        raise DecodeError(f"0x{code:02x} is not an AMQP 1.0 constructor")
    if after > end:
        raise DecodeError("A value is longer than what holds it")
    return after


_FIXED_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


def _described(data: bytes, position: int, end: int, depth: int) -> tuple[Described, int]:
    if depth >= MAX_DEPTH:
        raise DecodeError(f"Values are nested more than {MAX_DEPTH} deep")
    descriptor, position = decode(data, position, end, depth + 1)
    value, position = decode(data, position, end, depth + 1)
    return Described(descriptor, value), position


def _constant(value: Any) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
        return value, position

    return read


def _fixed(width: int, unpack: Callable[[bytes, int], tuple[Any, ...]], kind: Callable[[Any], Any]) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
        after = position + width
        if after > end:
            raise DecodeError("The value ends too soon")
        return kind(unpack(data, position)[0]), after

    return read


def _one_byte(kind: Callable[[int], Any]) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
        if position >= end:
            raise DecodeError("The value ends too soon")
        return kind(data[position]), position + 1

    return read


def _bytes_of(width: int, kind: Callable[[bytes], Any]) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
        after = position + width
        if after > end:
            raise DecodeError("The value ends too soon")
        return kind(bytes(data[position:after])), after

    return read


def _variable(size_width: int, kind: Callable[[bytes], Any]) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Any, int]:
        start = position + size_width
        if start > end:
            raise DecodeError("The value ends too soon")
        after = start + (data[position] if size_width == 1 else _u32(data, position)[0])
        if after > end:
            raise DecodeError("A value is longer than what holds it")
        return kind(bytes(data[start:after])), after

    return read


def _string(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("A string is not UTF-8") from error


def _symbol(raw: bytes) -> Symbol:
    try:
        return Symbol(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("A symbol is not ASCII") from error


def _char(code_point: int) -> Char:
    if code_point > 0x10FFFF or 0xD800 <= code_point <= 0xDFFF:
        raise DecodeError(f"U+{code_point:X} is not a character")
    return Char(chr(code_point))


def _boolean(value: int) -> bool:
    if value > 1:
        raise DecodeError("A boolean byte is neither 0 nor 1")
    return value == 1


def _compound(data: bytes, position: int, end: int) -> tuple[int, int, int, int]:
    """Constructor, first item's position, end and item count of the list or map at `position`."""
    if position >= end:
        raise DecodeError("The value ends too soon")
    code = data[position]
    if code == 0x45:
        return code, position + 1, position + 1, 0
    if code not in (0xC0, 0xD0, 0xC1, 0xD1):
        raise DecodeError("A list or map was expected")
    start, stop, count = _bounds(data, position + 1, end, 1 if code < 0xD0 else 4)
    return code, start, stop, count


def _bounds(data: bytes, position: int, end: int, width: int) -> tuple[int, int, int]:
    start = position + 2 * width
    if start > end:
        raise DecodeError("The value ends too soon")
    if width == 1:
        size, count = data[position], data[position + 1]
    else:
        size, count = _u32(data, position)[0], _u32(data, position + 4)[0]
    stop = position + width + size
    if stop > end or stop < start:
        raise DecodeError("A value is longer than what holds it")
    return start, stop, count


def _list(width: int) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[list[Any], int]:
        start, stop, count = _bounds(data, position, end, width)
        return _items(data, start, stop, count, depth), stop

    return read


def _items(data: bytes, position: int, stop: int, count: int, depth: int) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise DecodeError(f"Values are nested more than {MAX_DEPTH} deep")
    if count > stop - position:
        raise DecodeError("A list or map announces more items than it has bytes")
    values = []
    for _ in range(count):
        value, position = decode(data, position, stop, depth + 1)
        values.append(value)
    if position != stop:
        raise DecodeError("A list or map is longer than its items")
    return values


def _map(width: int) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[dict[Any, Any], int]:
        start, stop, count = _bounds(data, position, end, width)
        if count % 2:
            raise DecodeError("A map has a key without a value")
        flat = _items(data, start, stop, count, depth)
        try:
            pairs = dict(zip(flat[::2], flat[1::2], strict=True))
        except TypeError as error:
            raise DecodeError("A map has a list or map as a key") from error
        if 2 * len(pairs) != count:
            raise DecodeError("A map has the same key twice")
        return pairs, stop

    return read


def _array(width: int) -> Decoder:
    def read(data: bytes, position: int, end: int, depth: int) -> tuple[Array, int]:
        start, stop, count = _bounds(data, position, end, width)
        return _array_items(data, start, stop, count, depth), stop

    return read


def _array_items(data: bytes, position: int, stop: int, count: int, depth: int) -> Array:
    if depth >= MAX_DEPTH:
        raise DecodeError(f"Values are nested more than {MAX_DEPTH} deep")
    descriptor = None
    if position < stop and data[position] == 0:
        descriptor, position = decode(data, position + 1, stop, depth + 1)
    if position >= stop:
        raise DecodeError("An array has no constructor")
    code = data[position]
    decoder = _DECODERS[code]
    if decoder is None:
        raise DecodeError(f"0x{code:02x} is not an AMQP 1.0 constructor")
    position += 1
    if count > max(stop - position, 0 if code >> 4 != 4 else _MAX_EMPTY_ITEMS):
        raise DecodeError("An array announces more items than it has bytes")
    items = []
    for _ in range(count):
        value, position = decoder(data, position, stop, depth + 1)
        items.append(value)
    if position != stop:
        raise DecodeError("An array is longer than its items")
    return Array(_WIDEST.get(code, code), tuple(items), descriptor)


_WIDEST = {
    0x41: 0x56, 0x42: 0x56, 0x43: 0x70, 0x52: 0x70, 0x44: 0x80, 0x53: 0x80, 0x54: 0x71, 0x55: 0x81,
    0xA0: 0xB0, 0xA1: 0xB1, 0xA3: 0xB3, 0x45: 0xD0, 0xC0: 0xD0, 0xC1: 0xD1, 0xE0: 0xF0,
}  # fmt: skip


def _identity(value: Any) -> Any:
    return value


_KNOWN: dict[int, Decoder] = {
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(UInt(0)),
    0x44: _constant(ULong(0)),
    0x45: lambda data, position, end, depth: ([], position),
    0x50: _one_byte(UByte),
    0x51: _fixed(1, _i8, Byte),
    0x52: _one_byte(UInt),
    0x53: _one_byte(ULong),
    0x54: _fixed(1, _i8, Int),
    0x55: _fixed(1, _i8, _identity),
    0x56: _one_byte(_boolean),
    0x60: _fixed(2, _u16, UShort),
    0x61: _fixed(2, _i16, Short),
    0x70: _fixed(4, _u32, UInt),
    0x71: _fixed(4, _i32, Int),
    0x72: _fixed(4, _f32, Float),
    0x73: _fixed(4, _u32, _char),
    0x74: _bytes_of(4, Decimal32),
    0x80: _fixed(8, _u64, ULong),
    0x81: _fixed(8, _i64, _identity),
    0x82: _fixed(8, _f64, _identity),
    0x83: _fixed(8, _i64, Timestamp),
    0x84: _bytes_of(8, Decimal64),
    0x94: _bytes_of(16, Decimal128),
    0x98: _bytes_of(16, lambda raw: uuid.UUID(bytes=raw)),
    0xA0: _variable(1, _identity),
    0xA1: _variable(1, _string),
    0xA3: _variable(1, _symbol),
    0xB0: _variable(4, _identity),
    0xB1: _variable(4, _string),
    0xB3: _variable(4, _symbol),
    0xC0: _list(1),
    0xC1: _map(1),
    0xD0: _list(4),
    0xD1: _map(4),
    0xE0: _array(1),
    0xF0: _array(4),
}
_DECODERS: list[Decoder | None] = [_KNOWN.get(code) for code in range(256)]
