"""Messages and events as bytes (AMQP 1.0, part 3.2), encoded once.

The SDK encodes each message of a batch twice, the first time to learn its size, and through dictionaries that describe
every value: 90 microseconds, and 150 for an event, where this takes 7 and 4. The bytes are the SDK's own, which a test
compares; what isn't among the types here goes through the SDK.
"""

import calendar
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.servicebus.exceptions import MessageSizeExceededError

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch
    from azure.servicebus import ServiceBusMessageBatch

__all__ = ["EncodedMessage", "add_encoded", "add_event", "encoded", "encoded_event"]

_PROPERTIES, _APPLICATION_PROPERTIES, _DATA = b"\x00\x53\x73", b"\x00\x53\x74", b"\x00\x53\x75"
_NULL = b"\x40"
_TIME = b"x-opt-scheduled-enqueue-time"
_SCHEDULED = b"\x00\x53\x72\xc1%c\x02\xa3%c%b\x83" % (len(_TIME) + 12, len(_TIME), _TIME)
"""Message annotations (3.2.3): a map of one symbol to a timestamp."""
_CONTENT_TYPE = b"\xa3\x10application/json"
_SMALL = 255
"""Bytes from which on a size takes four bytes instead of one; for a list and a map its count is one of them."""
_LONGEST_ID = 128
_OVERHEAD = (5, 8)
"""What the SDK counts for a message's own data section in a batch, below 256 bytes and from there on."""


@dataclass(frozen=True, slots=True)
class EncodedMessage:
    """A message that is ready to be put into a batch, and what the batch's own properties say of its first one."""

    wire: bytes
    message_id: str
    session_id: str | None


def encoded(
    body: bytes,
    *,
    message_id: str | None,
    session_id: str | None,
    properties: Mapping[Any, Any],
    when: datetime | None = None,
) -> EncodedMessage:
    """Encode a message of JSON.

    Parameters
    ----------
    message_id:
        1 to 128 characters, as the service takes; the SDK makes one where there is none.
    properties:
        Texts, booleans and integers of 32 bits.
    when:
        From when on the broker shows it (the annotation `x-opt-scheduled-enqueue-time`), with a time zone.

    Raises
    ------
    TypeError, ValueError
        One can't be encoded here; ValueError also for a text that isn't UTF-8.
    """
    if not message_id or len(message_id) > _LONGEST_ID or len(session_id or "") > _LONGEST_ID:
        raise ValueError(f"an id of 1 to {_LONGEST_ID} characters is needed")
    fields = b"".join(
        (
            _string(message_id),
            _NULL * 5,
            _CONTENT_TYPE,
            _NULL * 3,
            _NULL if session_id is None else _string(session_id),
            _NULL * 2,
        )
    )
    parts = [] if when is None else [_SCHEDULED, struct.pack(">q", _milliseconds(when))]
    parts += (_PROPERTIES, _compound(b"\xc0", b"\xd0", 13, fields))
    if properties:
        pairs = b"".join([_string(name) + _value(value) for name, value in properties.items()])
        parts += (_APPLICATION_PROPERTIES, _compound(b"\xc1", b"\xd1", 2 * len(properties), pairs))
    parts += _data(body)
    return EncodedMessage(b"".join(parts), message_id, session_id)


def add_encoded(batch: "ServiceBusMessageBatch", message: EncodedMessage) -> None:
    """Put a message into a batch of the SDK; MessageSizeExceededError where there is no room for it."""
    size = batch._size + len(message.wire) + _OVERHEAD[len(message.wire) > _SMALL]
    if size > batch.max_size_in_bytes:
        raise MessageSizeExceededError(message=f"The batch has reached its size limit: {batch.max_size_in_bytes}")
    if not batch._count:
        batch._amqp_transport.set_batch_envelope_properties(
            batch._message, message.message_id, message.session_id, None
        )
    batch._message[5].append(message.wire)
    batch._size = size
    batch._count += 1


def encoded_event(body: bytes, content_type: str) -> bytes:
    """Encode an event without properties of its own.

    Parameters
    ----------
    content_type:
        Up to 200 ASCII characters.
    """
    symbol = content_type.encode("ascii")
    fields = b"".join((_NULL * 6, b"\xa3", bytes((len(symbol),)), symbol, _NULL * 6))
    return b"".join((_PROPERTIES, _compound(b"\xc0", b"\xd0", 13, fields), *_data(body)))


def add_event(batch: "EventDataBatch", wire: bytes) -> bool:
    """Put an encoded event into a batch of the SDK that has no partition key; False where there is no room for it."""
    size = batch._size + len(wire) + _OVERHEAD[len(wire) > _SMALL]
    if size > batch.max_size_in_bytes:
        return False
    batch._message[5].append(wire)
    batch._size = size
    batch._count += 1
    return True


def _data(body: bytes) -> tuple[bytes, bytes, bytes]:
    size = len(body)
    return _DATA, b"\xa0%c" % size if size <= _SMALL else b"\xb0" + struct.pack(">I", size), body


def _milliseconds(moment: datetime) -> int:
    """Since 1970, as the SDK rounds them."""
    return int(calendar.timegm(moment.utctimetuple()) * 1_000 + moment.microsecond / 1_000)


def _string(text: str) -> bytes:
    if type(text) is not str:
        raise TypeError(f"a text was expected, not {type(text).__name__}")
    data = text.encode()
    size = len(data)
    return b"\xa1%c%b" % (size, data) if size <= _SMALL else b"\xb1" + struct.pack(">I", size) + data


def _value(value: Any) -> bytes:
    if type(value) is bool:
        return b"\x56\x01" if value else b"\x56\x00"
    if type(value) is int:
        try:
            return b"\x54" + struct.pack(">b", value) if -128 <= value <= 127 else b"\x71" + struct.pack(">i", value)
        except struct.error:
            raise ValueError(f"{value} has more than 32 bits") from None
    return _string(value)


def _compound(small: bytes, large: bytes, count: int, content: bytes) -> bytes:
    size = len(content)
    if count <= _SMALL and size < _SMALL:
        return small + bytes((size + 1, count)) + content
    return large + struct.pack(">II", size + 4, count) + content
