"""How many messages and events there are, for the management API and the status page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local_azure.broker.administration import RuntimeCounts
from local_azure.broker.broker import Broker
from local_azure.broker.eventhubs.hub import EventHub
from local_azure.broker.servicebus.queue import Queue

__all__ = ["runtime_counts", "snapshot"]


def runtime_counts(queue: Queue, created: int, updated: int, *, subscriptions: int = 0) -> RuntimeCounts:
    """Live counts of what keeps an entity's messages; times in ms since the epoch."""
    transfer = queue.transfer_dead_letters
    return RuntimeCounts(
        active=len(queue.messages) - queue.scheduled - queue.deferred,
        locked=len(queue.locked),
        scheduled=queue.scheduled,
        deferred=queue.deferred,
        dead_letter=len(queue.dead_letters.messages) if queue.dead_letters else 0,
        transfer_dead_letter=len(transfer.messages) if transfer else 0,
        enqueued_total=queue.enqueued_total,
        size_bytes=queue.total_bytes(),
        subscriptions=subscriptions,
        created_at=_time(created),
        updated_at=_time(updated),
        accessed_at=_time(queue.accessed_at or created),
    )


def snapshot(broker: Broker) -> Mapping[str, Any]:
    """Everything `/status.json` shows: queues, topics, eventHubs, connections (JSON-ready)."""
    namespace = broker.namespace
    return {
        "queues": {entity.description.name: _status(entity.queue) for entity in _sorted(namespace.queues)},
        "topics": {
            topic.description.name: {
                "subscriptions": {each.description.name: _status(each.queue) for each in _sorted(topic.subscriptions)}
            }
            for topic in _sorted(namespace.topics)
        },
        "eventHubs": {hub.description.name: _hub_status(hub) for hub in _sorted(broker.hubs)},
        "connections": broker.connections,
    }


def _sorted(entities: Mapping[str, Any]) -> list[Any]:
    return [entities[key] for key in sorted(entities)]


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _status(queue: Queue) -> dict[str, int]:
    return {
        "active": len(queue.messages) - queue.scheduled - queue.deferred,
        "locked": len(queue.locked),
        "scheduled": queue.scheduled,
        "deferred": queue.deferred,
        "deadLetter": len(queue.dead_letters.messages) if queue.dead_letters else 0,
        "enqueuedTotal": queue.enqueued_total,
    }


def _hub_status(hub: EventHub) -> dict[str, Any]:
    return {
        "partitions": {
            log.name: {
                "firstSequence": log.first_sequence,
                "lastSequence": log.next_sequence - 1,
                "count": len(log.events),
            }
            for log in hub.partitions
        },
        "consumerGroups": [group.name for group in hub.description.consumer_groups],
    }
