"""Service Bus messages as the 5.x extension and the host hand them to the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.functions.meta import Datum

from local_azure.host import wire

__all__ = ["ReceivedMessage", "batch", "single"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_EMPTY_OBJECT = wire.json_datum({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """What a trigger can see of a message. `delivery_count` is 1 for the first delivery, as .NET counts."""

    body: bytes
    message_id: str | None = None
    lock_token: str = ""
    sequence_number: int = 0
    delivery_count: int = 1
    enqueued_time: datetime = _LONG_AGO
    expires_at: datetime = _NEVER
    content_type: str | None = None
    correlation_id: str | None = None
    subject: str | None = None
    to: str | None = None
    reply_to: str | None = None
    session_id: str | None = None
    reply_to_session_id: str | None = None
    partition_key: str | None = None
    dead_letter_source: str | None = None
    application_properties: Mapping[str, Any] = field(default_factory=dict)


# Metadata name and attribute, in the extension's order. TransactionPartitionKey of a batch repeats the
# partition keys; State, LockedUntil, DeadLetterReason, TimeToLive and scheduled times are never sent.
_STRINGS = (
    ("DeadLetterSource", "dead_letter_source"),
    ("LockToken", "lock_token"),
    ("MessageId", "message_id"),
    ("ContentType", "content_type"),
    ("ReplyTo", "reply_to"),
    ("To", "to"),
    ("Subject", "subject"),
    ("Label", "subject"),
    ("CorrelationId", "correlation_id"),
    ("SessionId", "session_id"),
    ("ReplyToSessionId", "reply_to_session_id"),
    ("PartitionKey", "partition_key"),
    ("TransactionPartitionKey", "partition_key"),
)
_ACTIONS = ("MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions", "Client")


def batch(messages: Sequence[ReceivedMessage], data_type: str, function: str) -> tuple[Datum, dict[str, Datum]]:
    """Data and metadata of a batch: arrays, of which those of strings lose their null and empty elements."""
    metadata = dict.fromkeys(_ACTIONS, _EMPTY_OBJECT)
    metadata["DeliveryCountArray"] = wire.json_datum([each.delivery_count for each in messages])
    for name, attribute in _STRINGS:
        metadata[f"{name}Array"] = wire.strings(getattr(each, attribute) for each in messages)
    metadata["SequenceNumberArray"] = wire.longs(each.sequence_number for each in messages)
    expires, enqueued = [each.expires_at for each in messages], [each.enqueued_time for each in messages]
    metadata["ExpiresAtUtcArray"] = wire.json_datum([wire.net_datetime(moment) for moment in expires])
    metadata["ExpiresAtArray"] = wire.json_datum([wire.net_datetime_offset(moment) for moment in expires])
    metadata["EnqueuedTimeUtcArray"] = wire.json_datum([wire.net_datetime(moment) for moment in enqueued])
    metadata["EnqueuedTimeArray"] = wire.json_datum([wire.net_datetime_offset(moment) for moment in enqueued])
    properties = wire.json_datum([each.application_properties for each in messages])
    metadata["ApplicationPropertiesArray"] = metadata["UserPropertiesArray"] = properties
    metadata.update(wire.host_metadata(function))
    return wire.collection([each.body for each in messages], data_type), metadata


def single(message: ReceivedMessage, data_type: str, function: str) -> tuple[Datum, dict[str, Datum]]:
    """Data and metadata of one message; unless binary, a JSON body overwrites metadata of the same names."""
    metadata = dict.fromkeys(_ACTIONS, _EMPTY_OBJECT)
    metadata["DeliveryCount"] = wire.json_datum(message.delivery_count)
    for name, attribute in _STRINGS:
        if (value := getattr(message, attribute)) is not None:
            metadata[name] = Datum(value, "string")
    metadata["SequenceNumber"] = Datum(message.sequence_number, "int")
    metadata["ExpiresAtUtc"] = wire.json_datum(wire.net_datetime(message.expires_at))
    metadata["ExpiresAt"] = wire.json_datum(wire.net_datetime_offset(message.expires_at))
    metadata["EnqueuedTimeUtc"] = wire.json_datum(wire.net_datetime(message.enqueued_time))
    metadata["EnqueuedTime"] = wire.json_datum(wire.net_datetime_offset(message.enqueued_time))
    properties = wire.json_datum(message.application_properties)
    metadata["ApplicationProperties"] = metadata["UserProperties"] = properties
    metadata.update(wire.host_metadata(function))
    data = wire.data_of(message.body, data_type)
    return data, wire.with_body_properties(metadata, data)
