"""Event Hubs events as the extension and the host send them to the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.net_json import net_datetime
from local_azure.host.trigger_data.values import Metadata, Unbound

__all__ = ["Partition", "ReceivedEvent", "batch", "single", "started_by_hand", "trace_attributes"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
# Of an event that was never enqueued, long.MinValue.
_NO_NUMBER = -(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """What a trigger can see of an event. `body` is None for an AMQP value or sequence, which nothing can bind."""

    body: bytes | None
    sequence_number: int = 0
    offset: str | None = None
    enqueued_time: datetime = _LONG_AGO
    partition_key: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    system_properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numeric_offset(self) -> int:
        """The offset as a number; -1 where it is none, as with geo-replicated hubs."""
        try:
            return int(self.offset or "")
        except ValueError:
            return -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Where events come from."""

    namespace: str = ""
    event_hub: str = ""
    consumer_group: str = "$Default"
    partition_id: str = "0"

    def as_json(self) -> dict[str, Any]:
        """The `PartitionContext` of the trigger metadata."""
        return {
            "IsCheckpointingAfterInvocation": True,
            "FullyQualifiedNamespace": self.namespace,
            "EventHubName": self.event_hub,
            "ConsumerGroup": self.consumer_group,
            "PartitionId": self.partition_id,
        }


def _system(event: ReceivedEvent) -> dict[str, Any]:
    return {
        **event.system_properties,
        "SequenceNumber": event.sequence_number,
        "Offset": event.numeric_offset,
        "OffsetString": event.offset,
        "PartitionKey": event.partition_key,
        "EnqueuedTimeUtc": net_datetime(event.enqueued_time),
    }


def _context(partition: Partition) -> dict[str, Datum]:
    context = values.json_datum(partition.as_json())
    return {"PartitionContext": context, "TriggerPartitionContext": context}


def batch(events: Sequence[ReceivedEvent], partition: Partition, data_type: str) -> tuple[Datum, Metadata]:
    """Data and metadata of a batch; properties are only in `PropertiesArray`.

    Raises
    ------
    Unbound
        A body is not what the binding's `dataType` asks for, so that none of the batch reaches the function.
    """
    bodies = [_bytes(each) for each in events]
    metadata = _context(partition)
    metadata["PartitionKeyArray"] = values.strings(each.partition_key for each in events)
    metadata["OffsetArray"] = values.strings(str(each.numeric_offset) for each in events)
    metadata["OffsetStringArray"] = values.strings(each.offset for each in events)
    metadata["SequenceNumberArray"] = values.longs(each.sequence_number for each in events)
    metadata["EnqueuedTimeUtcArray"] = values.json_datum([net_datetime(each.enqueued_time) for each in events])
    metadata["PropertiesArray"] = values.json_datum([each.properties for each in events])
    metadata["SystemPropertiesArray"] = values.json_datum([_system(each) for each in events])
    return values.collection(bodies, data_type), metadata


def single(event: ReceivedEvent, partition: Partition, data_type: str) -> tuple[Datum, Metadata]:
    """Data and metadata of one event; unless binary, a JSON body overwrites metadata of the same names.

    Raises
    ------
    Unbound
        The body is an AMQP value or sequence.
    """
    data = values.data_of(_bytes(event), data_type)
    return data, values.with_body_properties({**_context(partition), **_of_one(event)}, data)


def trace_attributes(partition: Partition) -> dict[str, str]:
    """Tags of the invocation's activity, for one event and for a batch."""
    return {
        "az.namespace": "Microsoft.EventHub",
        "component": "eventhubs",
        "kind": "consumer",
        "message_bus.destination": partition.event_hub,
        "peer.address": partition.namespace,
    }


def started_by_hand(text: str, parameter: str, data_type: str, *, many: bool) -> tuple[Datum, Metadata]:
    """Data and metadata of `POST /admin/functions/NAME`: an event that never was in a hub.

    Raises
    ------
    Unbound
        A batch without `dataType` was given a text that is no JSON.
    """
    body = text.encode()
    metadata = {**_of_one(ReceivedEvent(body=body, sequence_number=_NO_NUMBER)), parameter: values.text(text)}
    return values.collection([body], data_type) if many else values.data_of(body, data_type), metadata


def _of_one(event: ReceivedEvent) -> dict[str, Datum]:
    metadata = {}
    if event.partition_key is not None:
        metadata["PartitionKey"] = values.text(event.partition_key)
    metadata["Offset"] = values.text(str(event.numeric_offset))
    if event.offset is not None:
        metadata["OffsetString"] = values.text(event.offset)
    metadata["SequenceNumber"] = values.json_datum(event.sequence_number)
    metadata["EnqueuedTimeUtc"] = values.json_datum(net_datetime(event.enqueued_time))
    metadata["Properties"] = values.json_datum(event.properties)
    metadata["SystemProperties"] = values.json_datum(_system(event))
    return metadata


def _bytes(event: ReceivedEvent) -> bytes:
    if event.body is None:
        raise Unbound(
            f"the body of the event {event.sequence_number} is an AMQP value or sequence, which the host cannot bind"
        )
    return event.body
