"""Keeps the types of AMQP values that the Python SDKs drop and .NET's, which the host in Azure uses, keeps.

A timestamp becomes a `DateTime` there, `com.microsoft:timespan` a `TimeSpan`, `com.microsoft:datetime-offset` a
`DateTimeOffset`; as trigger metadata each is JSON text. The Python SDKs decode all three to bare numbers, so their
decoders are told to leave a mark (source: `AmqpMessageConverter` of Azure.Messaging.ServiceBus).
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

from local_azure.host.time_spans import format_time_span
from local_azure.host.wire import net_datetime, net_datetime_offset, text_of

__all__ = ["AmqpTimestamp", "keep_types", "property_value"]

_DESCRIBED, _TIMESTAMP, _SYMBOL = 0x00, 0x83, 0xA3
_YEAR_ONE: Final = datetime(1, 1, 1, tzinfo=UTC)

Decode = Callable[..., tuple[memoryview, Any]]


class AmqpTimestamp(int):
    """Milliseconds since 1970, UTC, that came as an AMQP timestamp."""

    __slots__ = ()


def keep_types(sdk: str) -> None:
    """Have an SDK's decoder (`azure.servicebus` or `azure.eventhub`) mark these types; to be called once for each.

    A version that decodes in another way is left as it is: the values are numbers then.
    """
    try:
        decoders: Any = import_module(f"{sdk}._pyamqp._decode")._DECODE_BY_CONSTRUCTOR
        timestamp, described = decoders[_TIMESTAMP], decoders[_DESCRIBED]
    except (ImportError, AttributeError, LookupError):
        return
    _replace(decoders, _TIMESTAMP, _marked(timestamp))
    _replace(decoders, _DESCRIBED, _interpreted(described))


def _replace(decoders: MutableSequence[Decode], code: int, decode: Decode) -> None:
    decoders[code] = decode


def _marked(decode: Decode) -> Decode:
    def timestamp(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        rest, value = decode(buffer, *depth)
        return rest, AmqpTimestamp(value)

    return timestamp


def _interpreted(decode: Decode) -> Decode:
    def described(buffer: memoryview, *depth: int) -> tuple[memoryview, Any]:
        rest, value = decode(buffer, *depth)
        if buffer[0] != _SYMBOL or not isinstance(value, int):
            return rest, value
        name = bytes(buffer[2 : 2 + buffer[1]])
        return rest, _INTERPRETATIONS[name](value) if name in _INTERPRETATIONS else value

    return described


def _span(ticks: int) -> timedelta:
    return timedelta(microseconds=ticks // 10)


def _moment(ticks: int) -> datetime:
    return _YEAR_ONE + timedelta(microseconds=ticks // 10)


_INTERPRETATIONS: Final[dict[bytes, Callable[[int], Any]]] = {
    b"com.microsoft:timespan": _span,
    b"com.microsoft:datetime-offset": _moment,
}


def property_value(value: Any) -> Any:
    """An application property as the host writes it: times and spans as .NET's text, the rest as it is."""
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, AmqpTimestamp):
        return net_datetime(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=value)) + "Z"
    if isinstance(value, datetime):
        return net_datetime_offset(value)
    return format_time_span(value) if isinstance(value, timedelta) else value
