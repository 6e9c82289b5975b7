"""Declarations that come later: rows that are there already are indexed by a walk that events don't wait for."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from shared.query import Indexer, ReadModels, indexes_of
from shared.tables import MemoryTable

from .samples import FIND_BY, parcel_registry
from .test_index_rows import PARCELS, kept, parcel, recount

DECLARED = indexes_of(parcel_registry())


@pytest.mark.parametrize("before", [None, ["-weight", ("country", "due")]])
async def test_rows_of_an_earlier_declaration_are_found_by_the_new_one(
    before: list[str | tuple[str, str]] | None,
) -> None:
    """Whatever was declared before, nothing included; a second run has nothing to do."""
    table, chance = MemoryTable("views"), random.Random(1)
    earlier = {} if before is None else indexes_of(parcel_registry(before))
    await ReadModels(table, earlier).put([parcel(number, 1, chance) for number in range(60)])
    indexer = Indexer(table, ReadModels(table, DECLARED), DECLARED)
    done = await indexer.run(lambda: 1.0)
    assert done == (60, 60, True)
    assert kept(table) == recount(table)
    assert await ReadModels(table, DECLARED).count("parcels", [PARCELS.entries({}, "")[1][0]]) == 60
    assert await indexer.run(lambda: 1.0) == (0, 0, True)


async def test_the_walk_goes_on_where_its_time_was_over() -> None:
    """In the middle of a partition too."""
    table, chance = MemoryTable("views"), random.Random(2)
    await ReadModels(table).put([parcel(number, 1, chance) for number in range(2_400)])
    indexer = Indexer(table, ReadModels(table, DECLARED), DECLARED)
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
        Indexer(table, rows, DECLARED).run(lambda: 1.0),
        *(rows.put(later[start : start + 8]) for start in range(0, 80, 8)),
    )
    assert kept(table) == recount(table)
    assert len(FIND_BY) * 40 == len(kept(table)[0])
