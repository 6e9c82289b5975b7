"""What making a view anew takes of the processor for each event, beside the projection that made it live.

Both write to an Azurite of their own process and get the same events as bytes, so what is compared is the app's own
work: live in batches of 64 as the host delivers them, anew as a rebuild reads them. Half of the events are later ones
of keys that were seen, as with orders that are changed.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import uuid4

import integrations
from integrations.orders.models import OrderView
from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, discover
from shared.query import Projector, ReadModels, Replayer, indexes_of
from shared.streams import Extent, Positions, StreamConsumer, StreamEvent
from shared.tables.azure import AzureTable
from shared.views import RememberingTable, VersionFeed, place_of

from .harness import Benchmark
from .storage import azurite

EVENTS, BATCH, CHUNK = 3_000, 64, 50


class _Log:
    """A partition of which everything is there."""

    def __init__(self, events: list[StreamEvent]) -> None:
        self.events = events

    async def identity(self) -> str:
        """See `EventLog`."""
        return "1"

    async def partitions(self) -> list[str]:
        """See `EventLog`."""
        return ["0"]

    async def extent(self, _: str) -> Extent:
        """See `EventLog`."""
        return Extent(first=0, last=len(self.events) - 1)

    async def extents(self) -> dict[str, Extent]:
        """See `EventLog`."""
        return {"0": await self.extent("0")}

    async def read(self, _: str, *, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """See `EventLog`."""
        for start in range(after + 1, len(self.events), CHUNK):
            yield self.events[start : start + CHUNK]


def _events() -> list[StreamEvent]:
    chance = random.Random(7)
    sequences: dict[str, int] = {}
    found = []
    for number in range(EVENTS):
        key = f"{chance.randrange(EVENTS // 2):06d}"
        sequences[key] = sequences.get(key, 0) + 1
        order = OrderView(
            order_id=key,
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
            subject=key,
            time=datetime.now(UTC),
            version="1.0",
            data=json.dumps(json.loads(order.model_dump_json(by_alias=True))),
            correlation_id="-",
            sequence=sequences[key],
        )
        found.append(StreamEvent(body=event.to_json(), partition="0", offset="0", sequence_number=number))
    return found


async def _ratio(storage: str, events: list[StreamEvent]) -> float:
    name = f"views{uuid4().hex[:12]}"
    registry, log = discover(integrations), _Log(events)
    declared = indexes_of(registry)
    table, positions = (
        AzureTable.from_connection_string(storage, name),
        AzureTable.from_connection_string(storage, f"{name}p"),
    )
    live = ReadModels(table, declared)
    anew = ReadModels(RememberingTable(table, folded=False), declared, place_of=_second)
    try:
        projector = Projector(registry, live, cast("DeadLetterStore", None), now=lambda: datetime.now(UTC))
        consumer = StreamConsumer("live", projector.project, Positions(positions, hub="h", group="live"), log)
        began = time.process_time()
        for start in range(0, len(events), BATCH):
            await consumer.deliver(events[start : start + BATCH])
        between = time.process_time()
        feed = VersionFeed(
            Replayer(registry, "orders", anew, None).apply, Positions(positions, hub="h", group="anew"), log
        )
        done = await feed.catch_up("0", len(events), time_left=lambda: 600.0)
        ended = time.process_time()
        if done.sequence != len(events) - 1 or done.skipped:
            raise RuntimeError(f"the rebuild is at {done}")
        for view in (live, ReadModels(table, declared, place_of=_second)):
            count = await view.count("orders", [declared["orders"].entries({}, "")[1][0]])
            if count != len({event.body.split(b'"subject":')[1].split(b",")[0] for event in events}):
                raise RuntimeError(f"a view counts {count} rows")
    finally:
        await table.close()
        await positions.close()
    return (ended - between) / (between - began)


async def _second(view: str) -> str:
    return place_of(view, 2)


def _rounds(rounds: int) -> Iterator[float]:
    with azurite() as storage:
        events = _events()
        for _ in range(rounds):
            yield asyncio.run(_ratio(storage, events))


BENCHMARKS = [
    Benchmark(
        name="rebuild",
        claim="processor time for each event of a view that is made anew / of the live projection",
        goal=0.2,
        better="lower",
        rounds=_rounds,
    )
]
