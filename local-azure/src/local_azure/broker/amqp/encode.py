"""Values to bytes: the shortest encoding that the specification allows, except inside arrays."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local_azure.broker.amqp.types import (
    Array,
    Byte,
    Char,
    Decimal32,
    Decimal64,
    Decimal128,
    Described,
    Fields,
    Float,
    Int,
    Raw,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

__all__ = ["encode", "encode_map_items", "encode_to"]

_pack_u16 = struct.Struct(">BH").pack
_pack_u32 = struct.Struct(">BI").pack
_pack_u64 = struct.Struct(">BQ").pack
_pack_i8 = struct.Struct(">Bb").pack
_pack_i16 = struct.Struct(">Bh").pack
_pack_i32 = struct.Struct(">Bi").pack
_pack_i64 = struct.Struct(">Bq").pack
_pack_f32 = struct.Struct(">Bf").pack
_pack_f64 = struct.Struct(">Bd").pack
_pack_compound8 = struct.Struct(">BBB").pack
_pack_compound32 = struct.Struct(">BII").pack


def encode(value: Any) -> bytes:
    """Encode one value.

    Raises
    ------
    TypeError
        If the value's type, or that of something inside, has no AMQP counterpart.
    ValueError
        If a number does not fit its AMQP type.
    """
    out = bytearray()
    encode_to(out, value)
    return bytes(out)


def encode_to(out: bytearray, value: Any) -> None:
    """Append one value to `out`; raises as `encode` does."""
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"{type(value).__name__} has no AMQP type")
    try:
        encoder(out, value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit the AMQP type of {type(value).__name__}") from error


def encode_map_items(items: Mapping[Any, Any]) -> bytes:
    """The keys and values of a map one after the other, without the map's own header."""
    out = bytearray()
    for key, value in items.items():
        encode_to(out, key)
        encode_to(out, value)
    return bytes(out)


def _none(out: bytearray, value: None) -> None:
    out.append(0x40)


def _bool(out: bytearray, value: bool) -> None:
    out.append(0x41 if value else 0x42)


def _ubyte(out: bytearray, value: int) -> None:
    if not 0 <= value <= 0xFF:
        raise ValueError(f"{value} does not fit a ubyte")
    out.append(0x50)
    out.append(value)


def _byte(out: bytearray, value: int) -> None:
    out += _pack_i8(0x51, value)


def _ushort(out: bytearray, value: int) -> None:
    out += _pack_u16(0x60, value)


def _short(out: bytearray, value: int) -> None:
    out += _pack_i16(0x61, value)


def _uint(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x43)
    elif 0 < value <= 0xFF:
        out.append(0x52)
        out.append(value)
    else:
        out += _pack_u32(0x70, value)


def _ulong(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x44)
    elif 0 < value <= 0xFF:
        out.append(0x53)
        out.append(value)
    else:
        out += _pack_u64(0x80, value)


def _int(out: bytearray, value: int) -> None:
    out += _pack_i8(0x54, value) if -128 <= value <= 127 else _pack_i32(0x71, value)


def _long(out: bytearray, value: int) -> None:
    out += _pack_i8(0x55, value) if -128 <= value <= 127 else _pack_i64(0x81, value)


def _float(out: bytearray, value: float) -> None:
    out += _pack_f32(0x72, value)


def _double(out: bytearray, value: float) -> None:
    out += _pack_f64(0x82, value)


def _timestamp(out: bytearray, value: int) -> None:
    out += _pack_i64(0x83, value)


def _character(out: bytearray, value: str) -> None:
    out += _pack_u32(0x73, ord(value))


def _uuid(out: bytearray, value: uuid.UUID) -> None:
    out.append(0x98)
    out += value.bytes


def _decimal(code: int) -> Callable[[bytearray, Any], None]:
    def write(out: bytearray, value: Any) -> None:
        if len(value) != value.WIDTH:
            raise ValueError(f"{type(value).__name__} takes {value.WIDTH} bytes, not {len(value)}")
        out.append(code)
        out += value

    return write


def _raw(out: bytearray, value: bytes) -> None:
    out += value


def _variable(out: bytearray, raw: bytes, short: int) -> None:
    size = len(raw)
    if size <= 0xFF:
        out.append(short)
        out.append(size)
    else:
        out += _pack_u32(short + 0x10, size)
    out += raw


def _binary(out: bytearray, value: bytes) -> None:
    _variable(out, value, 0xA0)


def _string(out: bytearray, value: str) -> None:
    _variable(out, value.encode(), 0xA1)


def _symbol(out: bytearray, value: str) -> None:
    _variable(out, value.encode("ascii"), 0xA3)


def _list(out: bytearray, value: Sequence[Any]) -> None:
    if not value:
        out.append(0x45)
        return
    body = bytearray()
    for item in value:
        encode_to(body, item)
    _compound(out, body, len(value), 0xC0)


def _map(out: bytearray, value: Mapping[Any, Any]) -> None:
    _compound(out, encode_map_items(value), 2 * len(value), 0xC1)


def _compound(out: bytearray, body: bytes | bytearray, count: int, short: int) -> None:
    if len(body) < 0xFF and count <= 0xFF:
        out += _pack_compound8(short, len(body) + 1, count)
    else:
        out += _pack_compound32(short + 0x10, len(body) + 4, count)
    out += body


def _described(out: bytearray, value: Described) -> None:
    out.append(0)
    encode_to(out, value.descriptor)
    encode_to(out, value.value)


def _array(out: bytearray, value: Array) -> None:
    body = bytearray()
    if value.descriptor is not None:
        body.append(0)
        encode_to(body, value.descriptor)
    body.append(value.code)
    for item in value.items:
        body += _array_item(value.code, item)
    out += _pack_compound32(0xF0, len(body) + 4, len(value.items))
    out += body


def _array_item(code: int, item: Any) -> bytes:
    """An item in the widest encoding of its type, without its constructor."""
    if code in _ARRAY_NUMBERS:
        return struct.pack(_ARRAY_NUMBERS[code], item)
    if code in (0xB0, 0xB1, 0xB3):
        raw: bytes = item if code == 0xB0 else item.encode()
        return struct.pack(">I", len(raw)) + raw
    if code == 0x40:
        return b""
    if code == 0x73:
        return struct.pack(">I", ord(item))
    if code == 0xD0:
        return _wide(b"".join(encode(each) for each in item), len(item))
    if code == 0xD1:
        return _wide(encode_map_items(item), 2 * len(item))
    if code in (0x74, 0x84, 0x94):
        return bytes(item)
    if code in (0x98, 0xF0):
        return encode(item)[1:]
    raise ValueError(f"0x{code:02x} is not the widest constructor of an AMQP type")


def _wide(body: bytes, count: int) -> bytes:
    return struct.pack(">II", len(body) + 4, count) + body


_ARRAY_NUMBERS = {
    0x50: ">B", 0x51: ">b", 0x56: ">?", 0x60: ">H", 0x61: ">h", 0x70: ">I", 0x71: ">i", 0x72: ">f",
    0x80: ">Q", 0x81: ">q", 0x82: ">d", 0x83: ">q",
}  # fmt: skip

_ENCODERS: dict[type, Callable[[bytearray, Any], None]] = {
    type(None): _none,
    bool: _bool,
    int: _long,
    float: _double,
    str: _string,
    bytes: _binary,
    bytearray: _binary,
    memoryview: _binary,
    uuid.UUID: _uuid,
    list: _list,
    tuple: _list,
    dict: _map,
    Array: _array,
    Byte: _byte,
    Char: _character,
    Decimal32: _decimal(0x74),
    Decimal64: _decimal(0x84),
    Decimal128: _decimal(0x94),
    Described: _described,
    Fields: _map,
    Float: _float,
    Int: _int,
    Raw: _raw,
    Short: _short,
    Symbol: _symbol,
    Timestamp: _timestamp,
    UByte: _ubyte,
    UInt: _uint,
    ULong: _ulong,
    UShort: _ushort,
}
