"""A message as a queue holds it: the sender's bytes, and beside them what the broker knows about it."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from local_azure.broker.amqp.encode import encode, encode_map_items
from local_azure.broker.amqp.errors import AmqpError, Condition, DecodeError
from local_azure.broker.amqp.message import (
    BATCH_FORMAT,
    NO_HEADER,
    Header,
    Sections,
    data_sections,
    encode_annotations,
    encode_delivery_annotations,
    encode_header,
    scan,
)
from local_azure.broker.amqp.types import Symbol
from local_azure.broker.limits import MAX_IDENTIFIER, MAX_PROPERTIES_BYTES

__all__ = ["FOREVER", "Message", "MessageState", "parse_messages"]

FOREVER: Final = 1 << 62
"""A point in time (ms) that never comes."""

_SCHEDULED_TIME: Final = "x-opt-scheduled-enqueue-time"
_PARTITION_KEY: Final = "x-opt-partition-key"
_OWNED: Final = frozenset(
    (
        "x-opt-sequence-number",
        "x-opt-enqueued-time",
        "x-opt-enqueue-sequence-number",
        "x-opt-message-state",
        "x-opt-locked-until",
        "x-opt-lock-token",
        "x-opt-deadletter-source",
    )
)


class MessageState(IntEnum):
    """`x-opt-message-state`; a lock is known by `Message.lock_token`."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


class Message:
    """One message in one queue. Times are milliseconds since the epoch, UTC; 0 stands for "none".

    `bare` is the bare message and footer as they arrived. `annotations` are the sender's own, encoded,
    without those that the broker sets. `delivery_count` counts failed deliveries. `promised` is the sequence number
    that a sender was given before the message is in its queue.
    """

    __slots__ = (
        "annotations",
        "annotations_count",
        "bare",
        "dead_letter_source",
        "delivery_count",
        "enqueue_sequence",
        "enqueued_at",
        "expires_at",
        "header",
        "lock_token",
        "locked_until",
        "promised",
        "row",
        "sequence",
        "session_id",
        "state",
        "visible_at",
    )

    def __init__(self, bare: bytes, header: Header = NO_HEADER) -> None:
        self.row = 0
        self.sequence = 0
        self.promised = 0
        self.enqueue_sequence = 0
        self.state = MessageState.ACTIVE
        self.header = header
        self.annotations = b""
        self.annotations_count = 0
        self.bare = bare
        self.enqueued_at = 0
        self.visible_at = 0
        self.expires_at = FOREVER
        self.delivery_count = 0
        self.lock_token: bytes | None = None
        self.locked_until = 0
        self.session_id: str | None = None
        self.dead_letter_source: str | None = None

    @property
    def size(self) -> int:
        """Bytes that count against a queue's quota."""
        return len(self.bare) + len(self.annotations)

    @property
    def sections(self) -> Sections:
        """The parts of the bare message."""
        return scan(self.bare)

    def copy(self) -> Message:
        """Another message with the same content, as a topic or a forwarding queue makes it."""
        twin = Message(self.bare, self.header)
        twin.annotations, twin.annotations_count = self.annotations, self.annotations_count
        twin.visible_at, twin.session_id = self.visible_at, self.session_id
        twin.enqueue_sequence, twin.dead_letter_source = self.enqueue_sequence, self.dead_letter_source
        return twin

    def annotation(self, name: str) -> Any:
        """One of the sender's annotations, or None."""
        if not self.annotations_count:
            return None
        section = encode_annotations(self.annotations, self.annotations_count)
        return scan(section).annotations.get(name)

    def change_properties(self, changes: dict[Any, Any]) -> None:
        """Merge application properties, as a settlement may ask."""
        if changes:
            sections = self.sections
            try:
                before = sections.application_properties
            except DecodeError:  # nothing that can be kept
                before = {}
            self.bare = sections.rebuilt(None, {**before, **changes})

    def encode(self, *, deferred_token: bytes | None = None) -> bytes:
        """The message as a receiver gets it; `deferred_token` adds the delivery annotation with it."""
        head = _PLAIN_HEADS[self.delivery_count] if self._is_plain else self._header()
        pairs, count = self._broker_annotations()
        if self.annotations_count:
            pairs, count = pairs + self.annotations, count + self.annotations_count
        annotations = encode_annotations(pairs, count)
        if deferred_token is None:
            return head + annotations + self.bare
        return head + _token_annotation(deferred_token) + annotations + self.bare

    @property
    def _is_plain(self) -> bool:
        return self.header is NO_HEADER and self.delivery_count < len(_PLAIN_HEADS)

    def _header(self) -> bytes:
        return encode_header(self.header, self.delivery_count)

    def _broker_annotations(self) -> tuple[bytes, int]:
        pairs = _pack_annotations(
            _SEQUENCE_KEY,
            self.sequence,
            _ENQUEUED_KEY,
            self.enqueued_at,
            _ENQUEUE_SEQUENCE_KEY,
            self.enqueue_sequence or self.sequence,
            _STATE_KEY,
            self.state,
        )
        count = 8
        if self.locked_until:
            pairs += _pack_locked(_LOCKED_KEY, self.locked_until)
            count += 2
        if self.dead_letter_source:
            pairs += _SOURCE_KEY + encode(self.dead_letter_source)
            count += 2
        return pairs, count


def _key(name: str, code: int) -> bytes:
    return encode(Symbol(name)) + bytes((code,))


_SEQUENCE_KEY: Final = _key("x-opt-sequence-number", 0x81)
_ENQUEUED_KEY: Final = _key("x-opt-enqueued-time", 0x83)
_ENQUEUE_SEQUENCE_KEY: Final = _key("x-opt-enqueue-sequence-number", 0x81)
_STATE_KEY: Final = _key("x-opt-message-state", 0x71)
_LOCKED_KEY: Final = _key("x-opt-locked-until", 0x83)
_SOURCE_KEY: Final = encode(Symbol("x-opt-deadletter-source"))
_pack_annotations = struct.Struct(
    f">{len(_SEQUENCE_KEY)}sq{len(_ENQUEUED_KEY)}sq{len(_ENQUEUE_SEQUENCE_KEY)}sq{len(_STATE_KEY)}si"
).pack
_pack_locked = struct.Struct(f">{len(_LOCKED_KEY)}sq").pack
_PLAIN_HEADS: Final = tuple(encode_header(NO_HEADER, count) for count in range(16))


def _token_annotation(token: bytes) -> bytes:
    return encode_delivery_annotations({"x-opt-lock-token": uuid.UUID(bytes_le=token)})


NewIdentity = Callable[[], bytes]


def parse_messages(payload: bytes, message_format: int, new_identity: NewIdentity | None = None) -> list[Message]:
    """The message, or the messages of a batch, that a transfer carries.

    `new_identity` gives 16 bytes for the id of a message that has none: the service never leaves it out.

    Raises
    ------
    DecodeError
        If the bytes are no message.
    """
    if message_format == BATCH_FORMAT:
        return [parse_message(each, new_identity) for each in data_sections(payload, scan(payload).body)]
    return [parse_message(payload, new_identity)]


def parse_message(data: bytes, new_identity: NewIdentity | None = None) -> Message:
    """One message from its bytes. Raises `AmqpError` if they are no message, or one that breaks a limit."""
    sections = scan(data)
    _check_limits(sections)
    message = Message(data[sections.bare :])
    if new_identity is not None and not sections.has_message_id:
        message.bare = sections.with_message_id(new_identity().hex())
    if sections.header_at:
        header = sections.header
        if header != NO_HEADER:
            message.header = header
    if sections.annotations_at:
        _take_annotations(message, sections.annotations)
    if message.visible_at:
        _ = (
            sections.properties,
            sections.application_properties,
        )  # what is wrong has to be reported now, not when it is due
    return message


def _check_limits(sections: Sections) -> None:
    """Refuse what the service refuses: long identifiers, and more properties than fit a message's head.

    Source: "Service Bus quotas", message id, session id and header sizes. The condition is not documented.
    """
    if sections.body > MAX_PROPERTIES_BYTES:
        raise AmqpError(
            Condition.ARGUMENT_ERROR,
            f"The header and properties of the message take {sections.body} bytes: the limit is {MAX_PROPERTIES_BYTES}",
        )
    if sections.body - sections.bare <= MAX_IDENTIFIER:
        return  # no identifier in it can be too long
    properties = sections.properties
    for name in ("message_id", "group_id", "reply_to_group_id"):
        value = getattr(properties, name)
        if isinstance(value, str | bytes) and len(value) > MAX_IDENTIFIER:
            raise _too_long(_SHOWN_NAMES[name], len(value))


_SHOWN_NAMES: Final = {
    "message_id": "MessageId",
    "group_id": "SessionId",
    "reply_to_group_id": "ReplyToSessionId",
}


def _too_long(name: str, length: int) -> AmqpError:
    return AmqpError(
        Condition.ARGUMENT_ERROR, f"The {name} has {length} characters: at most {MAX_IDENTIFIER} are allowed"
    )


def _take_annotations(message: Message, annotations: dict[Any, Any]) -> None:
    key = annotations.get(_PARTITION_KEY)
    if isinstance(key, str) and len(key) > MAX_IDENTIFIER:
        raise _too_long("PartitionKey", len(key))
    scheduled = annotations.get(_SCHEDULED_TIME)
    if isinstance(scheduled, int):
        message.visible_at = scheduled
    kept = {key: value for key, value in annotations.items() if key not in _OWNED}
    message.annotations = encode_map_items(kept)
    message.annotations_count = 2 * len(kept)
