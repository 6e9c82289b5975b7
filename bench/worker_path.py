"""The whole worker path against a loop written by hand that does the same transactions and publishes the same."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from integrations.orders.models import Order, OrderView
from shared.messages import CloudEvent, Delivery, Envelope
from shared.state import bucket_of, partition_key

from .harness import Benchmark
from .lane import Deliver, Rig, drain, fill, rig
from .messages import Sample, orders

MESSAGES = 1_024
WARM_UP = 128
BUCKETS = 16
PARTITIONS = 4

Entity = dict[str, Any]


@dataclass(frozen=True)
class HandWritten:
    """What somebody writes who knows the platform and this one business: no duplicates, no failures, no retries."""

    table: TableClient
    producer: EventHubProducerClient

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """One transaction per bucket, one event batch per partition, one transaction to empty the outbox."""
        buckets: dict[int, list[tuple[str, Entity]]] = {}
        outbox: dict[int, list[Entity]] = {}
        facts: dict[int, list[bytes]] = {}
        for delivery in deliveries:
            envelope = Envelope[Order].model_validate_json(delivery.body)
            order, now = envelope.data, datetime.now(UTC)
            bucket = bucket_of(order.order_id, BUCKETS)
            view = OrderView.of(order).model_dump_json(by_alias=True)
            event = _event(envelope.message_id, order.order_id, view, now)
            common = {"PartitionKey": partition_key(bucket)}
            row = {**common, "RowKey": f"outbox:{order.order_id}:1", "createdAt": now, "value": event.decode()}
            inbox = {**common, "RowKey": f"inbox:{envelope.message_id}", "status": "done", "processedAt": now}
            state = {**common, "RowKey": f"state:order:{order.order_id}", "value": view}
            head = {**common, "RowKey": f"head:{order.order_id}", "sequence": 1}
            buckets.setdefault(bucket, []).extend(
                [("create", inbox), ("upsert", state), ("create", head), ("create", row)]
            )
            outbox.setdefault(bucket, []).append(row)
            facts.setdefault(bucket % PARTITIONS, []).append(event)
        await asyncio.gather(*(self._submit(operations) for operations in buckets.values()))
        await asyncio.gather(*(self._publish(partition, bodies) for partition, bodies in facts.items()))
        await asyncio.gather(*(self._submit([("delete", row) for row in rows]) for rows in outbox.values()))

    async def close(self) -> None:
        """Close the clients."""
        await self.table.close()
        await self.producer.close()

    async def _submit(self, operations: list[tuple[str, Entity]]) -> None:
        mode = {"mode": UpdateMode.REPLACE}
        await self.table.submit_transaction(
            (kind, entity, mode) if kind == "upsert" else (kind, entity) for kind, entity in operations
        )

    async def _publish(self, partition: int, bodies: list[bytes]) -> None:
        batch = await self.producer.create_batch(partition_id=str(partition))
        for body in bodies:
            batch.add(EventData(body))
        await self.producer.send_batch(batch)


def _event(message_id: UUID, key: str, view: str, now: datetime) -> bytes:
    return CloudEvent(
        id=f"{message_id}:0",
        type="order.accepted",
        source="/bench",
        subject=key,
        time=now,
        version="1.0",
        data=view,
        correlation_id=str(message_id),
        sequence=1,
    ).to_json()


async def _hand_written(rig: Rig) -> HandWritten:
    table = TableClient.from_connection_string(rig.storage, "handwritten")
    await table.create_table()
    producer = EventHubProducerClient.from_connection_string(rig.broker, eventhub_name=rig.settings.event_hub)
    return HandWritten(table, producer)


async def _seconds(rig: Rig, queue: str, samples: Iterator[Sample], deliver: Deliver, count: int) -> float:
    await fill(rig.client, queue, samples, count)
    return await drain(rig.client, queue, count, deliver)


def _rounds(rounds: int) -> Iterator[float]:
    with rig() as bed:
        by_hand = bed.run(_hand_written(bed))
        samples = orders()
        ours, theirs = bed.settings.lane_normal, bed.settings.lane_low
        for number in range(rounds + 1):
            count = MESSAGES if number else WARM_UP
            mine = bed.run(_seconds(bed, ours, samples, bed.process, count))
            bare = bed.run(_seconds(bed, theirs, samples, by_hand.deliver, count))
            if number:
                yield bare / mine
        bed.run(by_hand.close())


BENCHMARKS = [
    Benchmark(
        name="worker-path",
        claim="messages per second from receive to complete / those of a hand-written loop with the same transactions "
        "and events",
        goal=0.7,
        better="higher",
        rounds=_rounds,
    )
]
