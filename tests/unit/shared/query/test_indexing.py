"""Declarations that come later: rows that are there already are indexed by a walk that events don't wait for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from shared.query import Indexer, ReadModels, ViewChange, ViewRow, indexes_of
from shared.query.row_writes import _entity, partition_of
from shared.tables import Create, MemoryTable, Replace

from .samples import FIND_BY, parcel_registry
from .test_index_rows import PARCELS, Mortal, kept, parcel, recount

DECLARED = indexes_of(parcel_registry())
START = datetime(2026, 1, 1, tzinfo=UTC)


def clock() -> datetime:
    """Time stands still."""
    return START


class OlderRelease(ReadModels):
    """One that knows no indexes: it writes a row's own columns."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(table)
        self._older = table

    async def put(self, rows: Sequence[ViewRow | ViewChange]) -> None:
        """See `ReadModels`: the row alone, whatever the stored one lists."""
        for row in rows:
            assert isinstance(row, ViewRow)
            entity = _entity(row, partition_of(row.view, row.key))
            known = await self._older.get(entity["PartitionKey"], entity["RowKey"])
            await self._older.submit([Create(entity) if known is None else Replace(entity, known.etag)])


@pytest.mark.parametrize("before", [None, ["-weight", ("country", "due")]])
async def test_rows_of_an_earlier_declaration_are_found_by_the_new_one(
    before: list[str | tuple[str, str]] | None,
) -> None:
    """Whatever was declared before, nothing included; a second run has nothing to do."""
    table, chance = MemoryTable("views"), random.Random(1)
    earlier = {} if before is None else indexes_of(parcel_registry(before))
    await ReadModels(table, earlier).put([parcel(number, 1, chance) for number in range(60)])
    indexer = Indexer(table, ReadModels(table, DECLARED), DECLARED, now=clock)
    done = await indexer.run(lambda: 1.0)
    assert done == (60, 60, True)
    assert kept(table) == recount(table)
    assert await ReadModels(table, DECLARED).count("parcels", [PARCELS.entries({}, "")[1][0]]) == 60
    assert await indexer.run(lambda: 1.0) == (0, 0, True)


async def test_the_walk_goes_on_where_its_time_was_over() -> None:
    """In the middle of a partition too."""
    table, chance = MemoryTable("views"), random.Random(2)
    await ReadModels(table).put([parcel(number, 1, chance) for number in range(2_400)])
    indexer = Indexer(table, ReadModels(table, DECLARED), DECLARED, now=clock)
    seen, runs, complete = 0, 0, False
    while not complete:
        runs += 1
        left = iter([1.0] * (runs + 1))
        done = await indexer.run(partial(next, left, 0.0))
        seen, complete = seen + done.seen, done.complete
    assert runs > 10
    assert seen <= 2_400 + runs
    assert kept(table) == recount(table)


async def test_events_and_the_walk_meet() -> None:
    """Both change the same rows at once, and everything is counted once."""
    table, chance = MemoryTable("views"), random.Random(3)
    await ReadModels(table).put([parcel(number, 1, chance) for number in range(40)])
    rows = ReadModels(table, DECLARED)
    later = [parcel(number, sequence, chance) for sequence in (2, 3) for number in range(40)]
    await asyncio.gather(
        Indexer(table, rows, DECLARED, now=clock).run(lambda: 1.0),
        *(rows.put(later[start : start + 8]) for start in range(0, 80, 8)),
    )
    assert kept(table) == recount(table)
    assert len(FIND_BY) * 40 == len(kept(table)[0])


@pytest.mark.parametrize("seed", range(6))
async def test_instances_of_earlier_releases_write_beside_newer_ones(seed: int) -> None:
    """With another declaration, and without any, in the middle of the walk and behind it: the next walk mends it."""
    table, chance = MemoryTable("views"), random.Random(seed)
    writers = [
        ReadModels(table, DECLARED),
        ReadModels(table, indexes_of(parcel_registry(["due"]))),
        OlderRelease(table),
    ]
    moment = START
    indexer = Indexer(table, writers[0], DECLARED, now=lambda: moment)
    sequence = 0

    async def deployment(writers: list[ReadModels]) -> None:
        nonlocal sequence
        for _ in range(40):
            sequence += 1
            await chance.choice(writers).put([parcel(chance.randrange(12), sequence, chance)])

    await deployment(writers)
    await indexer.run(lambda: 1.0)
    await deployment(writers)
    await deployment(writers[:1])
    assert kept(table) != recount(table)
    assert (await indexer.run(lambda: 1.0)).seen == 0
    moment += timedelta(hours=1)
    assert (await indexer.run(lambda: 1.0)).changed > 0
    assert kept(table) == recount(table)
    await deployment(writers[:1])
    moment += timedelta(hours=1)
    assert await indexer.run(lambda: 1.0) == (12, 0, True)
    assert kept(table) == recount(table)


async def test_a_settled_declaration_is_looked_at_daily() -> None:
    table, chance, moment = MemoryTable("views"), random.Random(4), START
    rows = ReadModels(table, DECLARED)
    await rows.put([parcel(number, 1, chance) for number in range(3)])
    indexer = Indexer(table, rows, DECLARED, now=lambda: moment)
    looks = []
    for hour in range(73):
        moment = START + timedelta(hours=hour)
        if (await indexer.run(lambda: 1.0)).seen:
            looks.append(hour)
    assert looks == [*range(25), 48, 72]


@pytest.mark.parametrize("seed", range(4))
async def test_events_go_on_while_everything_is_unknown(seed: int) -> None:
    """A row that an event changes between the looks is left to the next walk, and so is a counter."""
    table, chance = Mortal(random.Random(seed)), random.Random(seed)
    rows, older = ReadModels(table, DECLARED), OlderRelease(table)
    for sequence in (1, 2, 3):
        found = [parcel(number, sequence, chance) for number in range(20)]
        await (rows if sequence == 2 else older).put(found)
    later = [parcel(number, sequence, chance) for sequence in (4, 5) for number in range(20)]
    await asyncio.gather(
        Indexer(table, rows, DECLARED, now=clock).run(lambda: 1.0),
        *(rows.put(later[start : start + 4]) for start in range(0, 40, 4)),
    )
    await Indexer(table, rows, DECLARED, now=lambda: START + timedelta(hours=1)).run(lambda: 1.0)
    assert kept(table) == recount(table)
