"""Read models on a real Azurite: whatever comes late, twice or at the same time, no row is turned back."""

from __future__ import annotations

import asyncio
import random

import pytest

from shared.query import ReadModels, ViewRow
from shared.state import bucket_of

from .conftest import NewTable


def row(key: str, sequence: int, view: str = "orders") -> ViewRow:
    """The row that the n-th fact of a key makes."""
    return ViewRow(view=view, key=key, value=f"{key}-{sequence}", event_id=f"{key}:{sequence}", sequence=sequence)


async def test_an_older_fact_changes_nothing(new_table: NewTable) -> None:
    """In a later batch, in the same one, alone and among newer ones."""
    views = ReadModels(new_table())
    await views.put([row("A", 3), row("A", 2), row("B", 1)])
    await views.put([row("A", 1), row("A", 3), row("B", 2)])
    await views.put([row("A", 2)])
    assert [await views.get("orders", key) for key in "AB"] == ["A-3", "B-2"]


async def test_a_first_fact_that_was_shown_already_does_no_harm(new_table: NewTable) -> None:
    """A repeated batch begins with it; the others of its transaction are written all the same."""
    views = ReadModels(new_table())
    shard = [f"k{number}" for number in range(400) if bucket_of(f"k{number}", 16) == 0][:20]
    await views.put([row(key, 1) for key in shard[:10]])
    await views.put([row(key, 5) for key in shard[:5]])
    await views.put([row(key, 1) for key in shard])
    shown = [await views.get("orders", key) for key in shard]
    assert shown == [*(f"{key}-5" for key in shard[:5]), *(f"{key}-1" for key in shard[5:])]


@pytest.mark.parametrize("seed", range(3))
async def test_instances_on_one_partition_at_once_end_with_the_newest(new_table: NewTable, seed: int) -> None:
    """Each in an order of its own, with repeats: after all of them every row shows its last fact."""
    table = new_table()
    chance = random.Random(seed)
    keys = [f"k{number}" for number in range(12)]

    async def instance() -> None:
        views = ReadModels(new_table(table.table_name))
        facts = [row(key, sequence) for key in keys for sequence in range(1, 6)]
        facts += chance.sample(facts, 20)
        chance.shuffle(facts)
        for start in range(0, len(facts), 16):
            await views.put(facts[start : start + 16])

    await asyncio.gather(*(instance() for _ in range(3)))
    views = ReadModels(new_table(table.table_name))
    assert [await views.get("orders", key) for key in keys] == [f"{key}-5" for key in keys]


async def test_a_row_from_before_there_were_sequences_is_replaced(new_table: NewTable) -> None:
    """By the first fact that has one."""
    table = new_table()
    await table.create_table()
    place = {"PartitionKey": f"orders:{bucket_of('A', 16):02d}", "RowKey": "A"}
    await table.create_entity({**place, "value": "old"})
    views = ReadModels(table)
    await views.put([row("A", 1)])
    assert await views.get("orders", "A") == "A-1"
