"""Events on their way out: batches per partition, in the order of their keys."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from shared.messages import CLOUD_EVENT_TYPE
from shared.telemetry import messaging, span

from .encoding import add_event, encoded_event

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubProducerClient

__all__ = ["EventPublisher", "OutgoingEvent"]


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event's JSON, and the bucket whose order it keeps."""

    bucket: int
    body: bytes


class EventPublisher:
    """Publishes events to one event hub.

    Events of a bucket go to one partition, `bucket mod partitions`: a key's order holds, and a group of events needs
    one send per partition instead of one per key.
    """

    def __init__(self, producer: "EventHubProducerClient") -> None:
        self._producer = producer
        self._partitions: list[str] = []
        self._in_order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, events: Sequence[OutgoingEvent]) -> None:
        """Return when Event Hubs has taken every event; on an error none, some or all were taken."""
        if not events:
            return
        if not self._partitions:
            self._partitions = sorted(await self._producer.get_partition_ids(), key=int)
        groups: dict[str, list[OutgoingEvent]] = {}
        for event in events:
            groups.setdefault(self._partitions[event.bucket % len(self._partitions)], []).append(event)
        attributes = messaging("send", "events", system="eventhubs", BATCH_COUNT=len(events))
        with span("send events", kind=SpanKind.PRODUCER, attributes=attributes):
            async with asyncio.TaskGroup() as tasks:
                for partition, group in groups.items():
                    tasks.create_task(self._publish(partition, group))

    async def _publish(self, partition: str, events: list[OutgoingEvent]) -> None:
        async with self._in_order[partition]:
            batch = await self._producer.create_batch(partition_id=partition)
            for event in events:
                wire = encoded_event(event.body, CLOUD_EVENT_TYPE)
                if not add_event(batch, wire):
                    await self._producer.send_batch(batch)
                    batch = await self._producer.create_batch(partition_id=partition)
                    if not add_event(batch, wire):
                        raise ValueError("an event is larger than the event hub takes")
            await self._producer.send_batch(batch)

    async def probe(self) -> None:
        """Fail where the event hub can't be reached."""
        await self._producer.get_partition_ids()

    async def close(self) -> None:
        """Close the producer's links."""
        await self._producer.close()
