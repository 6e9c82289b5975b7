"""Twenty minutes without storage under the bounded policy: nothing is missing, every key is in order, nothing spins."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from azure.core.exceptions import ServiceRequestError

from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, Contract, Integration, Registry
from shared.query import Projector, ReadModels
from shared.streams import Positions, StreamConsumer
from shared.tables.memory import MemoryTable
from shared.tables.table import Entity, Operation
from tests.unit.memory import Host, MemoryDeadLetters, MemoryLog

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OUTAGE = 20 * 60.0
RATE = 4
"""Events a second in the partition."""
KEYS = 37
BATCH = 200
POISON_EVERY = 1_003


class Counted(Contract):
    """An event, and its row."""

    count: int


def counting() -> Integration:
    """A view of the last count of each key."""
    counting = Integration("counting")

    @counting.projects("stock.counted", into="stock")
    def row(counted: Counted) -> Counted:
        return counted

    return counting


class World:
    """A partition to which events come by the clock, and tables that are away for a while."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.log = MemoryLog()
        self.log.chunk = 100
        self.host = Host(self.log, batch=BATCH, wait=self.wait)
        self.dead = MemoryDeadLetters()
        self.written: defaultdict[str, list[int]] = defaultdict(list)
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.begin, self.end = 60.0, 60.0 + OUTAGE
        self.views = ReadModels(Tables(self, "readmodels"))
        registry, now = Registry([counting()]), lambda: BEGIN + timedelta(seconds=self.seconds)
        self.projector = Projector(registry, self.views, cast("DeadLetterStore", self.dead), now=now)
        positions = Positions(Tables(self, "streampositions"), hub="events", group="g")
        project = self.projector.project
        self.consumer = StreamConsumer("read_models", project, positions, self.log, clock=lambda: self.seconds)

    @property
    def away(self) -> bool:
        """Whether storage is, now."""
        return self.begin <= self.seconds < self.end

    def wait(self, seconds: float) -> None:
        """Time passes, and events come."""
        before, self.seconds = self.seconds, self.seconds + seconds
        for number in range(int(before * RATE), int(self.seconds * RATE)):
            key = f"k{number % KEYS}"
            self.counts[key] += 1
            event = CloudEvent(
                id=str(number),
                type="stock.counted",
                source="/sluice",
                subject=key,
                time=BEGIN,
                version="1.0",
                data=json.dumps({"count": self.counts[key]}),
                correlation_id="c",
                sequence=self.counts[key],
            )
            self.log.append(event.to_json(), unreadable="" if number % POISON_EVERY else "An AMQP value.")


class Tables(MemoryTable):
    """A table of the account that is away."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self._world = world

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`."""
        self._meet()
        return await super().get(partition, row, select=select)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`."""
        self._meet()
        for operation in operations:
            if "eventId" in operation.row:
                self._world.written[str(operation.row["key"])].append(int(operation.row["sequence"]))
        return await super().submit(operations)

    def _meet(self) -> None:
        if self._world.away:
            self._world.seconds += 0.5
            raise ServiceRequestError("the account is away")


async def test_an_outage_of_twenty_minutes_loses_nothing() -> None:
    """A poison event now and then, too."""
    world = World()
    while world.seconds < world.end + 60:
        world.wait(1.0)
        await world.host.deliver(world.consumer.deliver)
    total = len(world.log.events["0"])
    poison = {one.sequence_number for one in world.log.events["0"] if one.unreadable}
    assert total > OUTAGE * RATE
    assert {letter.position["sequenceNumber"] for letter in world.dead.letters.values()} == poison
    last: dict[str, Any] = {}
    for one in world.log.events["0"]:
        if not one.unreadable:
            event = CloudEvent.from_json(one.body)
            last[event.subject] = json.loads(event.data)["count"]
    assert {key: json.loads(await world.views.get("stock", key) or "{}")["count"] for key in last} == last
    assert all(numbers == sorted(numbers) for numbers in world.written.values())
    assert world.host.calls < 2 * world.seconds + 6 * OUTAGE / 30
