"""The `$management` node of a namespace: what an event hub and its partitions look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.amqp.message import Properties, encode_message
from local_azure.broker.amqp.types import Array, Int, Timestamp
from local_azure.broker.endpoints import Request
from local_azure.broker.eventhubs.hub import EventHub

__all__ = ["HubManagement"]


class HubManagement:
    """Answers READ requests about hubs and partitions."""

    def __init__(self, find: Callable[[str], EventHub]) -> None:
        """`find` gives a hub by name or raises `AmqpError`."""
        self._find = find

    def answer(self, request: Request, respond: Callable[[bytes], None]) -> None:
        """Answer a request; what cannot be met gets a status."""
        try:
            body = self._read(request.properties)
        except AmqpError as error:
            status = 404 if error.condition == Condition.NOT_FOUND else 400
            respond(_reply(request, status, error.description, {}, error))
        else:
            respond(_reply(request, 200, "OK", body))

    def _read(self, properties: dict[str, Any]) -> dict[str, Any]:
        kind = properties.get("type")
        if properties.get("operation") != "READ":
            raise AmqpError(Condition.NOT_IMPLEMENTED, f"Operation {properties.get('operation')!r} is not known")
        name = properties.get("name")
        hub = self._find(name if isinstance(name, str) else "")
        if kind == "com.microsoft:eventhub":
            return _hub(hub)
        if kind == "com.microsoft:partition":
            return _partition(hub, str(properties.get("partition")))
        raise AmqpError(Condition.INVALID_FIELD, f"Type {kind!r} is not known")


def _hub(hub: EventHub) -> dict[str, Any]:
    description = hub.description
    return {
        "name": description.name,
        "type": "com.microsoft:eventhub",
        "created_at": Timestamp(hub.created_at),
        "partition_count": Int(description.partition_count),
        "partition_ids": Array(0xB1, description.partition_ids),
        "georeplication_factor": Int(1),
    }


def _partition(hub: EventHub, name: str) -> dict[str, Any]:
    for log in hub.partitions:
        if log.name == name:
            return {
                "name": hub.description.name,
                "type": "com.microsoft:partition",
                "partition": name,
                "begin_sequence_number": log.first_sequence,
                "last_enqueued_sequence_number": log.next_sequence - 1,
                "last_enqueued_offset": str(log.last_offset),
                "last_enqueued_time_utc": Timestamp(log.last_enqueued_at),
                "is_partition_empty": not log.events,
            }
    raise AmqpError(
        Condition.INVALID_FIELD,
        f"Partition '{name}' does not exist in event hub '{hub.description.name}', which has partitions"
        f" 0 to {len(hub.partitions) - 1}",
    )


def _reply(request: Request, status: int, text: str, body: dict[str, Any], error: AmqpError | None = None) -> bytes:
    properties: dict[str, Any] = {
        "status-code": Int(status),
        "status-description": text,
        "statusCode": Int(status),
        "statusDescription": text,
    }
    if error is not None:
        properties["errorCondition"] = error.condition
        properties["error-condition"] = error.condition
    identity = request.sections.properties.message_id
    return encode_message(properties=Properties(correlation_id=identity), application_properties=properties, body=body)
