"""An erased row of a view takes later events as any other does."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.forgetting import _Stores
from shared.query import ReadModels, indexes_of
from shared.state import unpack
from shared.tables import Entity, MemoryTable, Operation, Query
from tests.unit.shared.query.samples import parcel_registry
from tests.unit.shared.query.test_index_rows import kept, parcel, recount

DECLARED = indexes_of(parcel_registry())
NOBODY: Any = SimpleNamespace(tokens=(), taken_out_of=lambda text: text)


async def view_row(table: MemoryTable) -> Entity:
    """The one row that isn't an entry of an index."""
    (found,) = [row async for row in table.query(Query()) if "eventId" in row]
    return found


def stores() -> _Stores:
    """Of an erasure that takes nothing out: what it does beside."""
    return _Stores(cast("Any", None), NOBODY, cast("Any", None))


async def test_a_later_event_finds_an_erased_rows_entries_gone() -> None:
    """Its entries come again, and nothing meets one that isn't there."""
    table, chance = MemoryTable("readmodels"), random.Random(1)
    await ReadModels(table, DECLARED).put([parcel(1, 1, chance)])
    row = await view_row(table)
    assert row["indexed"]
    await stores()._rewrite(table, row, unpack(row))
    assert len([key for key in table.rows if "eventId" not in table.rows[key] and "key" in table.rows[key]]) == 0
    for sequence in range(2, 6):
        await ReadModels(table, DECLARED).put([parcel(1, sequence, chance)])
        assert kept(table) == recount(table)


async def test_a_row_that_changed_meanwhile_keeps_its_entries() -> None:
    """The next run erases it: it isn't left with entries that it lists and that are gone."""
    table, chance = MemoryTable("readmodels"), random.Random(2)
    await ReadModels(table, DECLARED).put([parcel(1, 1, chance)])
    before = await view_row(table)
    await ReadModels(table, DECLARED).put([parcel(1, 2, chance)])
    await stores()._rewrite(table, before, unpack(before))
    assert kept(table) == recount(table)
    await ReadModels(table, DECLARED).put([parcel(1, 3, chance)])
    assert kept(table) == recount(table)


class Between(MemoryTable):
    """Something happens right behind the transaction that replaces a row."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """As the table does."""
        done = await super().submit(operations)
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return done


class DiesError(Exception):
    """The process of the erasure is gone."""


@pytest.mark.parametrize("dies", [False, True])
async def test_nothing_comes_between_an_erased_row_and_its_entries(dies: bool) -> None:
    """Neither an event, whose entries stay, nor the end of the process, which leaves none behind."""
    table, chance = Between("readmodels"), random.Random(3)
    rows = ReadModels(table, DECLARED)
    await rows.put([parcel(1, 1, chance)])
    row = await view_row(table)

    async def happens() -> None:
        if dies:
            raise DiesError
        await rows.put([parcel(1, 2, chance)])

    table.happens = happens
    with pytest.raises(DiesError) if dies else nullcontext():
        await stores()._rewrite(table, row, unpack(row))
    if not dies:
        assert kept(table) == recount(table)
    for sequence in range(3, 6):
        await rows.put([parcel(1, sequence, chance)])
        assert kept(table) == recount(table)
