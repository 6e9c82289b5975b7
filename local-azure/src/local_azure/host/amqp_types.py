"""Lets this host's receivers keep what Azure's Python clients lose of AMQP types.

The clients decode strings and binary alike to bytes, numbers of both precisions to float, timestamps to int, and fail
at a char and at most decimals. .NET's clients tell them apart, so the host must. Application properties and AMQP value
bodies are decoded here by a copy of the client's decoder that keeps types; it is put behind the links of our receivers
alone, so that the app's clients in the same process stay as they are.
"""

import base64
import importlib
import importlib.util
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from importlib.machinery import ModuleSpec
from types import FunctionType, MethodType
from typing import Any

from local_azure.host.trigger_data.net_json import Single, net_datetime

__all__ = ["AmqpDescribed", "AmqpTimestamp", "keep_types", "property_value", "text_of", "typed_decoder"]

Decode = Callable[..., tuple[memoryview, Any]]

_DESCRIBED, _SINGLE, _CHAR, _TIMESTAMP, _DECIMAL = 0x00, 0x72, 0x73, 0x83, 0x94
# Sections of a message by the numbers of their descriptors (AMQP 1.0, 3.2).
_HEADER, _PROPERTIES, _APPLICATION_PROPERTIES, _VALUE = 0x70, 0x73, 0x74, 0x77
_TYPED_SECTIONS = frozenset((_APPLICATION_PROPERTIES, _VALUE))
_LISTED = {0x75: "data", 0x76: "sequence"}
_SECTIONS = {
    0x71: "delivery_annotations",
    0x72: "message_annotations",
    _APPLICATION_PROPERTIES: "application_properties",
    _VALUE: "value",
    0x78: "footer",
}
_SERVICE_BUS = b"com.microsoft:"
_DECIMAL_BIAS = 6176
_COEFFICIENT_BITS = 113
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_STRING_SMALL, _STRING_LARGE = 0xA1, 0xB1


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
    table: list[Decode] = copy._DECODE_BY_CONSTRUCTOR  # a number that no type has is None there
    table[_STRING_SMALL], table[_STRING_LARGE] = _string_small, _string_large
    table[_SINGLE] = _marked(table[_SINGLE], Single)
    table[_TIMESTAMP] = _marked(table[_TIMESTAMP], AmqpTimestamp)
    table[_DESCRIBED] = _keeping_descriptors(table)
    table[_CHAR] = _char
    table[_DECIMAL] = _decimal
    for code in range(0x50, 0xA0):  # decimal32 and the like: no message may end its link
        if not callable(table[code]):
            table[code] = partial(_opaque, 1 << (code >> 4) - 5)
    return _message_decoder(importlib.import_module(module), table)


def _message_decoder(client: Any, typed: list[Decode]) -> Callable[[memoryview], Any]:
    """What the client's `decode_payload` does, with other decoders for the sections that keep their types."""
    plain = client._DECODE_BY_CONSTRUCTOR

    def decode(buffer: memoryview) -> Any:
        sections: dict[str, Any] = {}
        while buffer:
            section = buffer[2]  # behind the constructors of a described value and of its number
            table = typed if section in _TYPED_SECTIONS else plain
            buffer, value = table[buffer[3]](buffer[4:])
            if section == _HEADER:
                sections["header"] = client.Header(*value)
            elif section == _PROPERTIES:
                sections["properties"] = client.Properties(*value)
            elif section in _LISTED:
                sections.setdefault(_LISTED[section], []).append(value)
            elif section in _SECTIONS:
                sections[_SECTIONS[section]] = value
        return client.Message(**sections)

    return decode


def _marked(decode: Decode, kind: Callable[[Any], Any]) -> Decode:
    def marked(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        rest, value = decode(buffer, *depth)
        return rest, kind(value)

    return marked


def _keeping_descriptors(table: list[Decode]) -> Decode:
    """The decoder of described values: those of Service Bus's own kinds keep their kind."""
    plain = table[_DESCRIBED]

    def described(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        rest, descriptor = table[buffer[0]](buffer[1:], *depth)
        if not isinstance(descriptor, bytes) or not descriptor.startswith(_SERVICE_BUS):
            return plain(buffer, *depth)
        rest, value = table[rest[0]](rest[1:], *depth)
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


def _opaque(width: int, buffer: memoryview, *_depth: int) -> tuple[memoryview, bytes]:
    return buffer[width:], bytes(buffer[:width])


def _char(buffer: memoryview, *_depth: int) -> tuple[memoryview, str]:
    (code,) = struct.unpack(">I", buffer[:4])
    return buffer[4:], "\ufffd" if code > sys.maxunicode or 0xD800 <= code < 0xE000 else chr(code)


def _string_small(buffer: memoryview, *_depth: int) -> tuple[memoryview, str]:
    end = buffer[0] + 1
    return buffer[end:], str(buffer[1:end], "utf-8", "replace")


def _string_large(buffer: memoryview, *_depth: int) -> tuple[memoryview, str]:
    end = int.from_bytes(buffer[:4], "big") + 4
    return buffer[end:], str(buffer[4:end], "utf-8", "replace")


def text_of(value: Any) -> str:
    """Text of a string or symbol that an SDK hands over as bytes; other binary becomes base64, as in .NET."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def property_value(value: Any) -> Any:
    """An application property as .NET's client would have it: bytes stay bytes, times and spans become such."""
    kind = type(value)
    if kind is str:
        return value
    if kind is AmqpTimestamp:
        return value.moment()
    if kind is AmqpDescribed:
        return _described(value.kind, value.value)
    return value


def _described(kind: str, value: Any) -> Any:
    """A value of Service Bus's own types; ticks are of 100 ns, since the year 1 where they are a time."""
    try:
        if kind == "timespan":
            return timedelta(microseconds=value // 10)
        if kind == "datetime-offset":
            return net_datetime(datetime.min + timedelta(microseconds=value // 10)) + "+00:00"  # noqa: DTZ901 - UTC
    except (OverflowError, TypeError):
        return int(value) if isinstance(value, int) else str(value)
    return text_of(bytes(value)) if isinstance(value, bytes) else value
