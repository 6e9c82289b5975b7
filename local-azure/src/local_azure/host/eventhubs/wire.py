"""Event Hubs events as the extension and the host hand them to the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.functions.meta import Datum

from local_azure.host import wire

__all__ = ["Partition", "ReceivedEvent", "batch", "single"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """What a trigger can see of an event."""

    body: bytes
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
        "EnqueuedTimeUtc": wire.net_datetime(event.enqueued_time),
    }


def _context(partition: Partition, function: str) -> dict[str, Datum]:
    context = wire.json_datum(partition.as_json())
    return {"PartitionContext": context, "TriggerPartitionContext": context, **wire.host_metadata(function)}


def batch(
    events: Sequence[ReceivedEvent], partition: Partition, data_type: str, function: str
) -> tuple[Datum, dict[str, Datum]]:
    """Data and metadata of a batch; properties are only in `PropertiesArray`."""
    metadata = _context(partition, function)
    metadata["PartitionKeyArray"] = wire.strings(each.partition_key for each in events)
    metadata["OffsetArray"] = wire.strings(str(each.numeric_offset) for each in events)
    metadata["OffsetStringArray"] = wire.strings(each.offset for each in events)
    metadata["SequenceNumberArray"] = wire.longs(each.sequence_number for each in events)
    metadata["EnqueuedTimeUtcArray"] = wire.json_datum([wire.net_datetime(each.enqueued_time) for each in events])
    metadata["PropertiesArray"] = wire.json_datum([each.properties for each in events])
    metadata["SystemPropertiesArray"] = wire.json_datum([_system(each) for each in events])
    return wire.collection([each.body for each in events], data_type), metadata


def single(event: ReceivedEvent, partition: Partition, data_type: str, function: str) -> tuple[Datum, dict[str, Datum]]:
    """Data and metadata of one event; unless binary, a JSON body overwrites metadata of the same names."""
    metadata = _context(partition, function)
    if event.partition_key is not None:
        metadata["PartitionKey"] = Datum(event.partition_key, "string")
    metadata["Offset"] = Datum(str(event.numeric_offset), "string")
    metadata["OffsetString"] = Datum(event.offset or "", "string")
    metadata["SequenceNumber"] = Datum(event.sequence_number, "int")
    metadata["EnqueuedTimeUtc"] = wire.json_datum(wire.net_datetime(event.enqueued_time))
    metadata["Properties"] = wire.json_datum(event.properties)
    metadata["SystemProperties"] = wire.json_datum(_system(event))
    data = wire.data_of(event.body, data_type)
    return data, wire.with_body_properties(metadata, data)
