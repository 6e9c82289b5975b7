"""Two views of one log, live instances, and a rebuild beside them: all in memory, time moved by hand."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from shared.classification import Classification
from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, Contract, Integration, Registry
from shared.query import Projector, ReadModels, Replayer, ViewReader, indexes_of
from shared.streams import Positions, StreamConsumer, StreamEvent
from shared.tables import Entity, Operation, Query, Rows, Table
from shared.tables.memory import MemoryTable
from shared.views import History, Mask, Rebuilder, RememberingTable, Step, VersionFeed, ViewVersions, place_of
from tests.unit.memory import MemoryDeadLetters, MemoryLog

__all__ = ["Killed", "World", "warehouse"]

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PARTITIONS = ("0", "1")
VIEWS = ("stock", "tally")


class Killed(BaseException):
    """The process of the rebuild dies here."""


class Counted(Contract):
    """So much is there."""

    item: str
    count: int
    shelf: str = "A"


class Cleared(Contract):
    """Nothing is left."""

    item: str


class Tally(Contract):
    """All that was ever counted of an item since it was cleared."""

    item: str
    total: int
    counts: int
    shelf: str = "A"


def warehouse() -> Integration:
    """A view of the newest event, and one that adds events up and is deleted by some."""
    made = Integration("warehouse")

    @made.projects("stock.counted", into="stock", find_by=["shelf"], key="item")
    def stock(counted: Counted) -> Counted:
        if counted.count == POISON:
            raise ZeroDivisionError
        return counted

    @made.projects("stock.counted", into="tally", find_by=["shelf"], key="item")
    def add(counted: Counted, row: Tally | None) -> Tally:
        if counted.count == POISON:
            raise ZeroDivisionError
        so_far = row or Tally(item=counted.item, total=0, counts=0)
        return Tally(
            item=counted.item, total=so_far.total + counted.count, counts=so_far.counts + 1, shelf=counted.shelf
        )

    @made.projects("stock.cleared", into="tally")
    def clear(_: Cleared, row: Tally | None) -> Tally | None:
        return None

    return made


POISON = -1


class Door(MemoryTable):
    """A process's way to a table: each request may let others work first, or be the process's last."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(table.name)
        self.rows, self._versions = table.rows, table._versions
        self.left: int | None = None
        self.before: Callable[[], Any] | None = None

    async def _meet(self) -> None:
        if self.before is not None:
            await self.before()
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`."""
        await self._meet()
        return await super().get(partition, row, select=select)

    async def page(self, query: Query, start: Any = None) -> Rows:
        """See `Table`."""
        await self._meet()
        return await super().page(query, start)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`."""
        await self._meet()
        return await super().submit(operations)


class Instance:
    """One instance of the app: it projects, follows, and answers, by what it remembers of the versions."""

    def __init__(self, world: World) -> None:
        self.versions = ViewVersions(world.table, clock=lambda: world.seconds)
        self.rows = ReadModels(world.table, world.indexes, place_of=self.versions.place)
        self._world = world
        self._feeds: dict[tuple[str, int], VersionFeed] = {}
        self._projector = Projector(
            world.registry, self.rows, cast("DeadLetterStore", world.dead), now=lambda: world.now
        )
        positions = Positions(world.positions, hub="events", group="live")
        self.consumer = StreamConsumer("views", self._apply, positions, world.log, clock=lambda: world.seconds)

    async def _apply(self, events: Sequence[StreamEvent]) -> None:
        async with self.versions.pinned() as versions:
            for view, found in versions.items():
                if found.followed is not None:
                    feed = self._feeds.setdefault(
                        (view, found.followed), self._world.feed(self._world.table, view, found.followed)
                    )
                    await feed.deliver(events)
            await self._projector.project(events)


class World:
    """A log of events, and what is made of it.

    Attributes
    ----------
    acknowledged:
        By key the newest event that an instance has projected: every read from then on knows it.
    model:
        What the views have to say.
    """

    def __init__(self, seed: int = 0, *, keys: int = 12) -> None:
        self.chance = random.Random(seed)
        self.seconds = 0.0
        self.log = MemoryLog(PARTITIONS)
        self.table, self.positions = MemoryTable("readmodels"), MemoryTable("streampositions")
        self.registry = Registry([warehouse()])
        self.indexes = indexes_of(self.registry)
        self.dead = MemoryDeadLetters()
        self.keys = [f"item-{number}" for number in range(keys)]
        self.sequences: dict[str, int] = {}
        self.delivered = dict.fromkeys(PARTITIONS, 0)
        self.acknowledged: dict[str, int] = {}
        self.stock: dict[str, int] = {}
        self.tally: dict[str, tuple[int, int]] = {}
        self.instances = [Instance(self), Instance(self)]
        self.busy = self.quiet = False
        self.history: History | None = None

    @property
    def now(self) -> datetime:
        """The time of day."""
        return START + timedelta(seconds=self.seconds)

    def append(self, key: str | None = None, count: int | None = None, *, cleared: bool = False) -> None:
        """Publish an event."""
        key = key or self.chance.choice(self.keys)
        self.sequences[key] = number = self.sequences.get(key, 0) + 1
        partition = PARTITIONS[self.keys.index(key) % len(PARTITIONS)]
        cleared = cleared or (count is None and self.chance.random() < 0.15)
        count = self.chance.randrange(100) if count is None else count
        event = CloudEvent(
            id=f"{key}:{number}",
            type="stock.cleared" if cleared else "stock.counted",
            source="/sluice",
            subject=key,
            time=self.now,
            version="1.0",
            data=json.dumps({"item": key} if cleared else {"item": key, "count": count, "shelf": f"S{count % 3}"}),
            correlation_id="c",
            sequence=number,
        )
        self.log.append(event.to_json(), partition=partition)
        if cleared:
            self.tally.pop(key, None)
        elif count != POISON:
            self.stock[key] = count
            total, counts = self.tally.get(key, (0, 0))
            self.tally[key] = (total + count, counts + 1)

    async def deliver(self, *, batch: int = 5) -> None:
        """Have some instance project a batch, perhaps one that was projected before."""
        partition = self.chance.choice(PARTITIONS)
        first = self.delivered[partition]
        if self.chance.random() < 0.2:
            first = max(self.log.first[partition], first - self.chance.randrange(8))
        kept = self.log.events[partition][max(0, first - self.log.first[partition]) :][:batch]
        if not kept:
            return
        await self.chance.choice(self.instances).consumer.deliver(kept)
        if kept[-1].sequence_number >= self.delivered[partition]:
            self.delivered[partition] = kept[-1].sequence_number + 1
        for event in kept:
            known = CloudEvent.from_json(event.body)
            if known.type == "stock.counted" and json.loads(known.data)["count"] != POISON:
                self.acknowledged[known.subject] = max(self.acknowledged.get(known.subject, 0), known.sequence)

    async def deliver_all(self) -> None:
        """Have everything projected."""
        while any(self.delivered[one] < self.log.first[one] + len(self.log.events[one]) for one in PARTITIONS):
            await self.deliver()

    async def check_reads(self) -> None:
        """No instance answers with a row that is older than what was projected, whatever version it reads."""
        for key, sequence in self.acknowledged.items():
            instance = self.chance.choice(self.instances)
            row = await self.table.get(*self._place(await instance.versions.place("stock"), key))
            assert row is not None, f"{key} is missing"
            assert int(row["sequence"]) >= sequence, f"{key} is stale"

    def _place(self, place: str, key: str) -> tuple[str, str]:
        from shared.query.row_writes import partition_of

        return partition_of(place, key), key

    async def live(self) -> None:
        """Live traffic for a moment: events, projections, reads."""
        if self.busy or self.quiet:
            return
        self.busy = True
        try:
            self.seconds += self.chance.random()
            for _ in range(self.chance.randrange(3)):
                self.append()
            await self.deliver()
            if self.chance.random() < 0.2:
                await self.check_reads()
        finally:
            self.busy = False

    async def sleep(self, seconds: float) -> None:
        """Let time pass, with traffic in it."""
        until = self.seconds + seconds
        while self.seconds < until:
            await self.live()
            self.seconds += 1.0

    def feed(self, table: Table, view: str, version: int) -> VersionFeed:
        """What applies events to one version."""

        async def place(_: str) -> str:
            return place_of(view, version)

        replayer = Replayer(self.registry, view, ReadModels(table, self.indexes, place_of=place), None)
        positions = self.version_positions(view, version)
        return VersionFeed(replayer.apply, positions, self.log, self.history, clock=lambda: self.seconds)

    def version_positions(self, view: str, version: int) -> Positions:
        """Where a version is."""
        return Positions(self.positions, hub="events", group=f"view:{view}@{version}")

    def rebuilder(self, door: MemoryTable | None = None) -> Rebuilder:
        """A process that rebuilds."""
        table = door or self.table

        def mask(view: str) -> Mask:
            reader = ViewReader(self.registry, ReadModels(table), None)

            async def one(key: str, text: str) -> bytes:
                return (await reader.mask(view, key, text, Classification.RESTRICTED)).body

            return one

        return Rebuilder(
            table,
            ViewVersions(table, clock=lambda: self.seconds, remembered=0),
            views=VIEWS,
            log=self.log,
            live=Positions(self.positions, hub="events", group="live"),
            positions=self.version_positions,
            feeds=lambda view, version: self.feed(
                RememberingTable(table, folded=view in self.registry.folded), view, version
            ),
            mask=mask,
            folded=self.registry.folded,
            now=lambda: self.now,
            sleep=self.sleep,
            chance=random.Random(1),
        )

    async def rebuild(self, view: str, rebuilder: Rebuilder | None = None, **wanted: Any) -> Step:
        """Ask for a new version, and have it made."""
        made = rebuilder or self.rebuilder()
        await made.ask(view, **wanted)
        while (step := await made.run(view, lambda: 100.0)) is Step.MORE:
            pass
        return step

    async def shown(self, instance: Instance | None = None) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        """What the views say by an instance."""
        rows = (instance or Instance(self)).rows
        stock, tally = {}, {}
        for key in self.keys:
            if (text := await rows.get("stock", key)) is not None:
                stock[key] = json.loads(text)["count"]
            if (text := await rows.get("tally", key)) is not None:
                found = json.loads(text)
                tally[key] = (found["total"], found["counts"])
        return stock, tally

    async def check(self) -> None:
        """The views say what they have to, and count and find what they have."""
        await self.deliver_all()
        for instance in (*self.instances, Instance(self)):
            assert await self.shown(instance) == (self.stock, self.tally)
            for view, rows in (("stock", self.stock), ("tally", self.tally)):
                everything = self.indexes[view].entries({}, "")[1][0]
                assert await instance.rows.count(view, [everything]) == len(rows)
                place = await instance.versions.place(view)
                entries = [
                    row["key"]
                    for (partition, name), row in self.table.rows.items()
                    if partition.startswith(f"{place}:") and name.startswith("%3A%3Ashelf!")
                ]
                assert sorted(entries) == sorted(rows)


@asynccontextmanager
async def beside(world: World, door: Door) -> AsyncIterator[None]:
    """Live traffic between any two requests of a process."""

    async def live() -> None:
        if world.chance.random() < 0.3:
            await world.live()

    door.before = live
    yield
    door.before = None
