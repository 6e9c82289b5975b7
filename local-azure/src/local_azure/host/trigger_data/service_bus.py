"""Service Bus messages as the 5.x extension and the host send them to the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.net_json import net_datetime, net_datetime_offset
from local_azure.host.trigger_data.values import Metadata, Unbound

__all__ = ["ReceivedMessage", "Source", "batch", "single", "started_by_hand", "trace_attributes"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_EMPTY_OBJECT = values.json_datum({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """What a trigger can see of a message. `delivery_count` is 1 for the first delivery, as .NET counts.

    `body` is bytes for AMQP data sections, a text for an AMQP value that is one, and None for every other value
    and for sequences.
    """

    body: bytes | str | None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where messages come from. `locked_until` is that of the session, where there is one."""

    namespace: str = "localhost"
    identifier: str = "00000000-0000-0000-0000-000000000000"
    locked_until: datetime | None = None


_NOWHERE = Source()

# Metadata name and attribute. TransactionPartitionKey, of batches alone, repeats the partition keys; State,
# LockedUntil, DeadLetterReason, TimeToLive and scheduled times are never sent.
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
)
_BATCH_STRINGS = (*_STRINGS, ("TransactionPartitionKey", "partition_key"))
_OF_SESSIONS = ("MessageReceiver", "MessageSession", "MessageActions", "SessionActions")


@lru_cache(maxsize=64)
def _objects(source: Source) -> dict[str, Datum]:
    """What only .NET code can use: serialised all the same."""
    locked = source.locked_until
    actions = (
        _EMPTY_OBJECT if locked is None else values.json_datum({"SessionLockedUntil": net_datetime_offset(locked)})
    )
    client = {
        "FullyQualifiedNamespace": source.namespace,
        "IsClosed": False,
        "TransportType": 0,
        "Identifier": f"{source.namespace}-{source.identifier}",
    }
    return {
        **dict.fromkeys(_OF_SESSIONS, actions),
        "ReceiveActions": _EMPTY_OBJECT,
        "Client": values.json_datum(client),
    }


def batch(messages: Sequence[ReceivedMessage], data_type: str, source: Source = _NOWHERE) -> tuple[Datum, Metadata]:
    """Data and metadata of a batch: arrays, of which those of strings lose their null and empty elements.

    Raises
    ------
    Unbound
        A body is not what the binding's `dataType` asks for, so that none of the batch reaches the function.
    """
    bodies = [_bytes(each, data_type) for each in messages]
    metadata = _objects(source).copy()
    metadata["DeliveryCountArray"] = values.json_datum([each.delivery_count for each in messages])
    for name, attribute in _BATCH_STRINGS:
        metadata[f"{name}Array"] = values.strings(getattr(each, attribute) for each in messages)
    metadata["SequenceNumberArray"] = values.longs(each.sequence_number for each in messages)
    expires = [net_datetime(each.expires_at) for each in messages]
    enqueued = [net_datetime(each.enqueued_time) for each in messages]
    metadata["ExpiresAtUtcArray"] = values.json_datum(expires)
    metadata["ExpiresAtArray"] = values.json_datum([f"{moment}+00:00" for moment in expires])
    metadata["EnqueuedTimeUtcArray"] = values.json_datum(enqueued)
    metadata["EnqueuedTimeArray"] = values.json_datum([f"{moment}+00:00" for moment in enqueued])
    properties = values.json_datum([each.application_properties for each in messages])
    metadata["ApplicationPropertiesArray"] = metadata["UserPropertiesArray"] = properties
    return values.collection(bodies, data_type), metadata


def single(message: ReceivedMessage, data_type: str, source: Source = _NOWHERE) -> tuple[Datum, Metadata]:
    """Data and metadata of one message; unless binary, a JSON body overwrites metadata of the same names.

    Raises
    ------
    Unbound
        The body is an AMQP value that the binding's `dataType` does not take.
    """
    data = values.data_of(_bytes(message, data_type), data_type)
    return data, values.with_body_properties({**_objects(source), **_of_one(message)}, data)


def trace_attributes(source: Source, entity: str, *, function: str, many: bool) -> dict[str, str]:
    """Tags of the invocation's activity: the extension's own for one message, the host's for a batch."""
    if many:
        return {"OperationName": function}
    return {
        "az.namespace": "Microsoft.ServiceBus",
        "component": "servicebus",
        "kind": "consumer",
        "message_bus.destination": entity,
        "peer.address": source.namespace,
    }


def started_by_hand(text: str, parameter: str, data_type: str, *, many: bool) -> tuple[Datum, Metadata]:
    """Data and metadata of `POST /admin/functions/NAME`: also a batch has the metadata of a single message.

    Raises
    ------
    Unbound
        A batch without `dataType` was given a text that is no JSON.
    """
    message = ReceivedMessage(body=text.encode(), lock_token=str(UUID(int=0)), sequence_number=-1, delivery_count=0)
    metadata = {**_of_one(message), parameter: values.text(text)}
    body = text.encode()
    return values.collection([body], data_type) if many else values.data_of(body, data_type), metadata


def _of_one(message: ReceivedMessage) -> dict[str, Datum]:
    metadata = {"DeliveryCount": values.json_datum(message.delivery_count)}
    for name, attribute in _STRINGS:
        if (value := getattr(message, attribute)) is not None:
            metadata[name] = values.text(value)
    metadata["SequenceNumber"] = values.json_datum(message.sequence_number)
    expires, enqueued = net_datetime(message.expires_at), net_datetime(message.enqueued_time)
    metadata["ExpiresAtUtc"] = values.json_datum(expires)
    metadata["ExpiresAt"] = values.json_datum(f"{expires}+00:00")
    metadata["EnqueuedTimeUtc"] = values.json_datum(enqueued)
    metadata["EnqueuedTime"] = values.json_datum(f"{enqueued}+00:00")
    properties = values.json_datum(message.application_properties)
    metadata["ApplicationProperties"] = metadata["UserProperties"] = properties
    return metadata


def _bytes(message: ReceivedMessage, data_type: str) -> bytes:
    """The body as bytes; a text that is an AMQP value is taken for a text, and for nothing else."""
    body = message.body
    if isinstance(body, bytes):
        return body
    if body is None or data_type.upper() == "BINARY":
        raise Unbound(
            f"the body of message {message.message_id} is an AMQP value or sequence, which the host cannot make "
            f"{'bytes' if data_type.upper() == 'BINARY' else 'a text'} of"
        )
    return body.encode()
