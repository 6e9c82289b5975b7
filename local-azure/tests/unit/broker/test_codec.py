"""The AMQP type system: everything round-trips, and any bytes decode or raise the one error."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import local_azure
from local_azure.broker.amqp import DecodeError
from local_azure.broker.amqp.decode import MAX_DEPTH, decode_one, skip
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.performatives import decode_performative
from local_azure.broker.amqp.types import Array, Described, Float, Int, Symbol, Timestamp, UByte, UInt, ULong
from unit.broker.strategies import values


def _same(left: Any, right: Any) -> bool:
    """Equality that tells types apart, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            _same(a, b) and _same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, Described):
        return _same(left.descriptor, right.descriptor) and _same(left.value, right.value)
    if isinstance(left, Array):
        return left.code == right.code and _same(left.items, right.items) and _same(left.descriptor, right.descriptor)
    return bool(left == right)


@given(values)
@settings(max_examples=400, deadline=None)
def test_every_value_round_trips_with_its_type(value: Any) -> None:
    """decode(encode(v)) is v, of the same AMQP type at every depth."""
    encoded = encode(value)
    assert _same(decode_one(encoded), value)
    assert skip(encoded, 0, len(encoded)) == len(encoded)


@given(st.binary(max_size=200))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    """No other exception, no endless loop."""
    for attempt in (lambda: decode_one(data), lambda: decode_performative(data, 0, len(data))):
        with contextlib.suppress(DecodeError):
            attempt()


@given(values, st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_values_decode_or_raise_the_one_error(value: Any, data: st.DataObject) -> None:
    """A value with one byte changed, or cut short, is still no danger."""
    encoded = bytearray(encode(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for damaged in (bytes(encoded), bytes(encoded[:cut])):
        with contextlib.suppress(DecodeError):
            decode_one(damaged)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "40"),
        (True, "41"),
        (False, "42"),
        (UByte(255), "50ff"),
        (UInt(0), "43"),
        (UInt(255), "52ff"),
        (UInt(256), "7000000100"),
        (ULong(0), "44"),
        (ULong(10), "530a"),
        (Int(-1), "54ff"),
        (1, "5501"),
        (128, "810000000000000080"),
        (Timestamp(0), "830000000000000000"),
        (Float(1.5), "723fc00000"),
        ("hi", "a1026869"),
        (Symbol("hi"), "a3026869"),
        (b"hi", "a0026869"),
        ([], "45"),
        ([UInt(0)], "c0020143"),
        ({}, "c10100"),
        (Described(ULong(0x24), []), "00532445"),
        (Array(0xB3, (Symbol("a"),)), "f00000000a00000001b30000000161"),
    ],
)
def test_known_encodings(value: Any, expected: str) -> None:
    """Vectors from the specification's encoding tables."""
    assert encode(value).hex() == expected


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "",  # nothing
        "3f",  # no such constructor
        "5602",  # neither true nor false
        "a105",  # string that ends too soon
        "a101ff",  # not UTF-8
        "a301ff",  # not ASCII
        "c0ff05",  # list beyond its end
        "c00140",  # count without bytes
        "c10301a10141",  # map with a key only
        "73ffffffff",  # no such character
        "e0020100",  # array whose descriptor ends too soon
        "d0fffffffffffffff0",  # sizes beyond everything
        "f000000005ffffffff40",  # four thousand million nulls in no bytes
        "f000000005ffffffff45",
    ],
)
def test_malformed_values_raise(hexadecimal: str) -> None:
    """Each is refused before memory or time is spent on it."""
    with pytest.raises(DecodeError):
        decode_one(bytes.fromhex(hexadecimal))


@pytest.mark.parametrize("opening", [b"\x00", b"\xc0\xff\x01", b"\xe0\xff\x01\xc0", b"\x00\x40"])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """Depth is bounded, so a hostile value cannot exhaust the stack."""
    with pytest.raises(DecodeError):
        decode_one(opening * 100_000)
    with pytest.raises(DecodeError):
        skip(b"\x00" * 100_000, 0, 100_000)


def test_allowed_nesting_is_followed() -> None:
    """What real messages need is well within the bound."""
    value: Any = 1
    for _ in range(MAX_DEPTH - 2):
        value = [value]
    assert decode_one(encode(value)) == value


def test_values_without_amqp_type_are_refused() -> None:
    """The encoder tells types from values that do not fit."""
    with pytest.raises(TypeError):
        encode(object())
    for value in (UInt(-1), UByte(256), 2**63, Float(1e300)):
        with pytest.raises(ValueError, match="fit"):
            encode(value)


@pytest.mark.parametrize("package", ["amqp", "servicebus", "eventhubs", "rules"])
def test_protocol_and_semantics_import_no_io(package: str) -> None:
    """Codec, engine and broker know no sockets, event loop, clock or threads."""
    forbidden = {"asyncio", "socket", "ssl", "time", "threading", "sqlite3", "select", "selectors"}
    for path in (Path(local_azure.__file__).parent / "broker" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not forbidden & {name.split(".")[0] for name in names}, path
