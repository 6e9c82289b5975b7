"""Hypothesis strategies for AMQP values of every type."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

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

__all__ = ["arrays", "scalars", "values"]


def _whole(kind: type, bits: int, *, signed: bool) -> st.SearchStrategy[Any]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(kind)


_float32 = st.integers(0, 2**32 - 1).map(lambda bits: Float(struct.unpack(">f", struct.pack(">I", bits))[0]))
_text = st.text(st.characters(codec="utf-8"), max_size=300)
_symbols = st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol)
_chars = st.characters(codec="utf-8").map(Char)

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    0x40: st.none(),
    0x56: st.booleans(),
    0x50: _whole(UByte, 8, signed=False),
    0x60: _whole(UShort, 16, signed=False),
    0x70: _whole(UInt, 32, signed=False),
    0x80: _whole(ULong, 64, signed=False),
    0x51: _whole(Byte, 8, signed=True),
    0x61: _whole(Short, 16, signed=True),
    0x71: _whole(Int, 32, signed=True),
    0x81: _whole(int, 64, signed=True),
    0x72: _float32.filter(lambda number: number == number),
    0x82: st.floats(allow_nan=False),
    0x73: _chars,
    0x83: _whole(Timestamp, 64, signed=True),
    0x98: st.uuids(),
    0xB0: st.binary(max_size=300),
    0xB1: _text,
    0xB3: _symbols,
    0x74: st.binary(min_size=4, max_size=4).map(Decimal32),
    0x84: st.binary(min_size=8, max_size=8).map(Decimal64),
    0x94: st.binary(min_size=16, max_size=16).map(Decimal128),
}

scalars = st.one_of(*_SCALARS.values())
_keys = st.one_of(_symbols, _text)


def _array_of(code: int) -> st.SearchStrategy[Array]:
    items = st.lists(_SCALARS[code], max_size=8).map(tuple)
    return st.builds(Array, st.just(code), items, st.none() | _symbols)


arrays = st.sampled_from(sorted(_SCALARS)).flatmap(_array_of)


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(_keys, inner, max_size=6),
        st.builds(Described, st.one_of(_symbols, _SCALARS[0x80]), inner),
        st.builds(Array, st.just(0xD0), st.lists(st.lists(inner, max_size=3), max_size=3).map(tuple)),
        st.builds(Array, st.just(0xD1), st.lists(st.dictionaries(_keys, inner, max_size=3), max_size=3).map(tuple)),
        st.builds(Array, st.just(0xF0), st.lists(arrays, max_size=3).map(tuple)),
    )


values = st.recursive(scalars | arrays, _wider, max_leaves=20)
