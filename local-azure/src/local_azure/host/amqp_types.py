"""Lets this host's receivers keep what Azure's Python clients lose of AMQP types.

The clients decode strings and binary alike to bytes, numbers of both precisions to float, timestamps to int, and fail
at a char and at most decimals. .NET's clients tell them apart, so the host must. A copy of the client's decoder, of our
own and with marked types, is put behind the links of our receivers alone: the app's clients in the same process stay
as they are. The marked types are subclasses, so the client itself sees no difference.
"""

import importlib.util
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.machinery import ModuleSpec
from types import FunctionType, MethodType
from typing import Any

from local_azure.host.trigger_data.net_json import Single

__all__ = ["AmqpDescribed", "AmqpText", "AmqpTimestamp", "keep_types", "typed_decoder"]

Decode = Callable[..., tuple[memoryview, Any]]

_DESCRIBED, _SINGLE, _CHAR, _TIMESTAMP, _DECIMAL = 0x00, 0x72, 0x73, 0x83, 0x94
_SERVICE_BUS = b"com.microsoft:"
_DECIMAL_BIAS = 6176
_COEFFICIENT_BITS = 113
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_STRINGS = (0xA1, 0xB1)
_SYMBOLS = (0xA3, 0xB3)


class AmqpText(bytes):
    """A string or symbol, in UTF-8 as the clients hand it over."""


class AmqpTimestamp(int):
    """Milliseconds since 1970."""

    def moment(self) -> datetime:
        """The time, as near as Python can show it."""
        try:
            return datetime.fromtimestamp(self / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return _LATEST if self > 0 else _EARLIEST


@dataclass(frozen=True, slots=True)
class AmqpDescribed:
    """A value of one of Service Bus's own kinds: timespan, datetime-offset, uri."""

    kind: str
    value: Any


def keep_types(consumer: Any) -> None:
    """Decode with types whatever a client's receiver (or an Event Hubs consumer) receives from now on."""
    create = consumer._create_handler

    def create_handler(auth: Any) -> None:
        create(auth)
        _watch(consumer._handler)

    consumer._create_handler = create_handler


def _watch(handler: Any) -> None:
    ready: Callable[[], Awaitable[bool]] = handler._client_ready_async

    async def client_ready() -> bool:
        result = await ready()
        if handler._link is not None and "_incoming_transfer" not in vars(handler._link):
            _put_behind(handler._link)
        return result

    handler._client_ready_async = client_ready


def _put_behind(link: Any) -> None:
    """The link's own method, with another decoder among its globals."""
    method = link._incoming_transfer.__func__
    scope = {**method.__globals__, "decode_payload": typed_decoder(method.__globals__["decode_payload"].__module__)}
    own = FunctionType(method.__code__, scope, method.__name__, method.__defaults__, method.__closure__)
    link._incoming_transfer = MethodType(own, link)


@cache
def typed_decoder(module: str) -> Callable[[memoryview], Any]:
    """A copy of a client's decoder of messages, such as `azure.servicebus._pyamqp._decode`, that keeps types."""
    original = importlib.util.find_spec(module)
    assert original is not None
    spec = importlib.util.spec_from_file_location(f"{module}_with_types", original.origin)
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    table: list[Decode | None] = copy._DECODE_BY_CONSTRUCTOR
    for code in (*_STRINGS, *_SYMBOLS):
        table[code] = _marked(table[code], AmqpText)
    table[_SINGLE] = _marked(table[_SINGLE], Single)
    table[_TIMESTAMP] = _marked(table[_TIMESTAMP], AmqpTimestamp)
    table[_DESCRIBED] = _keeping_descriptors(table)
    table[_CHAR] = _char
    table[_DECIMAL] = _decimal
    decode: Callable[[memoryview], Any] = copy.decode_payload
    return decode


def _marked(decode: Decode | None, kind: Callable[[Any], Any]) -> Decode:
    assert decode is not None
    plain = decode

    def marked(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        rest, value = plain(buffer, *depth)
        return rest, kind(value)

    return marked


def _keeping_descriptors(table: list[Decode | None]) -> Decode:
    """The decoder of described values: those of Service Bus's own kinds keep their kind."""
    original = table[_DESCRIBED]
    assert original is not None
    plain = original

    def described(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        read = table[buffer[0]]
        assert read is not None
        rest, descriptor = read(buffer[1:], *depth)
        if not isinstance(descriptor, bytes) or not descriptor.startswith(_SERVICE_BUS):
            return plain(buffer, *depth)
        read = table[rest[0]]
        assert read is not None
        rest, value = read(rest[1:], *depth)
        return rest, AmqpDescribed(descriptor.removeprefix(_SERVICE_BUS).decode("ascii", "replace"), value)

    return described


def _decimal(buffer: memoryview, *_depth: int) -> tuple[memoryview, Decimal]:
    """IEEE 754-2008 decimal128 with a binary coefficient: sign, 14 bits of exponent, 113 bits of coefficient."""
    bits = int.from_bytes(buffer[:16], "big")
    sign, rest = bits >> 127, bits & ((1 << 127) - 1)
    if rest >> 125 == 3:  # infinite, no number, or a coefficient that no writer uses
        return buffer[16:], Decimal("NaN")
    digits = tuple(map(int, str(rest & ((1 << _COEFFICIENT_BITS) - 1))))
    return buffer[16:], Decimal((sign, digits, (rest >> _COEFFICIENT_BITS) - _DECIMAL_BIAS))


def _char(buffer: memoryview, *_depth: int) -> tuple[memoryview, AmqpText]:
    (code,) = struct.unpack(">I", buffer[:4])
    return buffer[4:], AmqpText(chr(code).encode("utf-8", "replace"))
