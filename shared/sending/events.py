"""Facts on their way out: batches per partition, in the order of their keys."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from shared.messages import CLOUD_EVENT_TYPE
from shared.telemetry import span

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubProducerClient

__all__ = ["EventPublisher", "Fact"]


@dataclass(frozen=True, slots=True)
class Fact:
    """An event's JSON, and the bucket whose order it keeps."""

    bucket: int
    body: bytes


class EventPublisher:
    """Publishes facts to one event hub.

    Facts of a bucket go to one partition, `bucket mod partitions`: a key's order holds, and a group of facts needs
    one send per partition instead of one per key.
    """

    def __init__(self, producer: "EventHubProducerClient") -> None:
        self._producer = producer
        self._partitions: list[str] = []
        self._in_order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, facts: Sequence[Fact]) -> None:
        """Return when Event Hubs has taken every fact; on an error none, some or all were taken."""
        if not facts:
            return
        if not self._partitions:
            self._partitions = sorted(await self._producer.get_partition_ids(), key=int)
        groups: dict[str, list[Fact]] = {}
        for fact in facts:
            groups.setdefault(self._partitions[fact.bucket % len(self._partitions)], []).append(fact)
        with span("publish", kind=SpanKind.PRODUCER, attributes={"messaging.batch.message_count": len(facts)}):
            async with asyncio.TaskGroup() as tasks:
                for partition, group in groups.items():
                    tasks.create_task(self._publish(partition, group))

    async def _publish(self, partition: str, facts: list[Fact]) -> None:
        from azure.eventhub import EventData  # loaded with the first fact

        async with self._in_order[partition]:
            batch = await self._producer.create_batch(partition_id=partition)
            for fact in facts:
                event = EventData(fact.body)
                event.content_type = CLOUD_EVENT_TYPE
                try:
                    batch.add(event)
                except ValueError:  # the batch is full
                    await self._producer.send_batch(batch)
                    batch = await self._producer.create_batch(partition_id=partition)
                    batch.add(event)
            await self._producer.send_batch(batch)

    async def probe(self) -> None:
        """Fail where the event hub can't be reached."""
        await self._producer.get_partition_ids()

    async def close(self) -> None:
        """Close the producer's links."""
        await self._producer.close()
