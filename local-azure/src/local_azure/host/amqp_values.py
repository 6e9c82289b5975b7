"""What Azure's Python clients make of AMQP values, as `json_text` is to write it."""

import base64
from datetime import datetime, timedelta
from typing import Any

from local_azure.host.amqp_types import AmqpDescribed, AmqpTimestamp
from local_azure.host.trigger_data.net_json import net_datetime

__all__ = ["property_value", "text_of"]


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
