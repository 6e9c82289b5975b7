"""What bronze takes of the processor for each event, beside the stream consumer that keeps the read models.

Both get the same batches as the host hands them over, each with a consumer group's positions of its own, and write to
an Azurite of its own process: what is compared is the app's own work.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import uuid4

import azure.functions as func
from azure.functions import get_binding_registry
from azure.storage.blob.aio import ContainerClient

import integrations
from functions.batches import stream_events
from integrations.orders.models import OrderView
from local_azure.host.trigger_data.event_hubs import Partition, ReceivedEvent, batch
from shared.blobs import WholeFiles
from shared.dead_letters import DeadLetterStore
from shared.lake.bronze import BronzeFiles, BronzeReader, BronzeWriter
from shared.messages import CloudEvent, discover
from shared.query import Projector, ReadModels, indexes_of
from shared.streams import Extent, Positions, StreamConsumer, StreamEvent
from shared.tables.azure import AzureTable

from .harness import Benchmark
from .storage import azurite

EVENTS, BATCH = 3_000, 200
"""In batches as large as `host.json` has them."""


class _Log:
    """A partition in which every event is there; nobody reads it, since no batch is missing."""

    async def identity(self) -> str:
        """See `EventLog`."""
        return "1"

    async def partitions(self) -> list[str]:
        """See `EventLog`."""
        return ["0"]

    async def extent(self, _: str) -> Extent:
        """See `EventLog`."""
        return Extent(first=0, last=EVENTS - 1)

    async def extents(self) -> dict[str, Extent]:
        """See `EventLog`."""
        return {"0": await self.extent("0")}

    async def read(self, partition: str, *, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """See `EventLog`."""
        raise AssertionError(f"nothing is missing after {after} in {partition}")
        yield []


Batches = Sequence[list[func.EventHubEvent]]


def _body(number: int) -> bytes:
    order = OrderView(
        order_id=f"{number:06d}",
        placed_at="2026-01-05T08:26:00Z",
        guest=True,
        country=f"Country {number % 30}",
        line_count=1,
        units=number % 50 + 1,
        total=Decimal("15.30"),
    )
    event = CloudEvent(
        id=str(uuid4()),
        type="order.accepted",
        source="/sluice",
        subject=order.order_id,
        time=datetime.now(UTC),
        version="1.0",
        data=json.dumps(json.loads(order.model_dump_json(by_alias=True))),
        correlation_id="-",
        sequence=1,
    )
    return event.to_json()


def _batches() -> Batches:
    """As the worker hands them to a function, not looked at yet."""
    now, converter = datetime.now(UTC), get_binding_registry().get("eventHubTrigger")
    found = []
    for first in range(0, EVENTS, BATCH):
        events = [
            ReceivedEvent(body=_body(number), sequence_number=number, offset=str(number * 700), enqueued_time=now)
            for number in range(first, first + BATCH)
        ]
        data, metadata = batch(events, Partition(event_hub="events"), "binary")
        found.append(converter.decode(data, trigger_metadata=metadata))
    return found


async def _deliver(consumer: StreamConsumer, batches: Batches, *, annotated: bool) -> float:
    began = time.process_time()
    for events in batches:
        await consumer.deliver(stream_events(events, annotated=annotated))
    return time.process_time() - began


async def _ratio(storage: str) -> float:
    name, registry, log = f"bench{uuid4().hex[:12]}", discover(integrations), _Log()
    table = AzureTable.from_connection_string(storage, name)
    rows = AzureTable.from_connection_string(storage, f"{name}p")
    container = ContainerClient.from_connection_string(storage, name)
    files = BronzeFiles(WholeFiles(container), "bench/events")
    try:
        views = ReadModels(table, indexes_of(registry))
        projector = Projector(registry, views, cast("DeadLetterStore", None), now=lambda: datetime.now(UTC))
        writer = BronzeWriter(files, log.identity)
        both = {
            "read models": StreamConsumer("a", projector.project, Positions(rows, hub="h", group="a"), log),
            "bronze": StreamConsumer("b", writer.write, Positions(rows, hub="h", group="b"), log),
        }
        seconds = {
            which: await _deliver(consumer, _batches(), annotated=which == "bronze") for which, consumer in both.items()
        }
        read = [len(chunk) async for chunk in BronzeReader(files).read("0")]
        if sum(read) != EVENTS:
            raise RuntimeError(f"bronze has {sum(read)} events")
    finally:
        await files.close()
        await table.close()
        await rows.close()
    return seconds["bronze"] / seconds["read models"]


def _rounds(rounds: int) -> Iterator[float]:
    with azurite() as storage:
        for _ in range(rounds):
            yield asyncio.run(_ratio(storage))


BENCHMARKS = [
    Benchmark(
        name="bronze",
        claim="processor time for each event that bronze keeps / that the stream consumer of the read models applies",
        goal=1.1,
        better="lower",
        rounds=_rounds,
    )
]
