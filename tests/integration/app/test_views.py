"""Read models on a real Azurite: whatever comes late, twice or at the same time, no row is turned back."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from shared.query import ReadModels, ViewRow
from shared.state import bucket_of
from shared.tables import Create

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
        views = ReadModels(new_table(table.name))
        facts = [row(key, sequence) for key in keys for sequence in range(1, 6)]
        facts += chance.sample(facts, 20)
        chance.shuffle(facts)
        for start in range(0, len(facts), 16):
            await views.put(facts[start : start + 16])

    await asyncio.gather(*(instance() for _ in range(3)))
    views = ReadModels(new_table(table.name))
    assert [await views.get("orders", key) for key in keys] == [f"{key}-5" for key in keys]


async def test_a_row_from_before_there_were_sequences_is_replaced(new_table: NewTable) -> None:
    """By the first fact that has one."""
    table = new_table()
    place = {"PartitionKey": f"orders:{bucket_of('A', 16):02d}", "RowKey": "A"}
    await table.submit([Create({**place, "value": "old"})])
    views = ReadModels(table)
    await views.put([row("A", 1)])
    assert await views.get("orders", "A") == "A-1"


def found_by(key: str, sequence: int, token: str, view: str = "orders") -> ViewRow:
    """A row that is found by a token."""
    value = f'{{"who":"slp1.x","who$token":"{token}","sequence":{sequence}}}'
    return ViewRow(view=view, key=key, value=value, event_id="e", sequence=sequence, tokens={"who": token})


async def test_rows_are_found_by_their_tokens_page_by_page(new_table: NewTable) -> None:
    """Each once, whatever came twice, late or under another token since; keys of any form, no other view's."""
    views = ReadModels(new_table())
    assert (await views.find("orders", "who", ["tok_a"], top=10)).rows == []
    keys = sorted(f"k/{number:02d}%3Awho:tok_a:x" for number in range(25))
    await views.put([found_by(key, 1, "tok_a") for key in keys])
    await views.put([found_by(key, 1, "tok_a") for key in keys[:9]])
    await views.put([found_by("moved", 1, "tok_a"), found_by("other", 1, "tok_b"), found_by("o", 1, "tok_a", "notes")])
    await views.put([found_by("moved", 2, "tok_b")])
    await views.put([found_by("moved", 1, "tok_a")])
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await views.find("orders", "who", ["tok_a", "tok_unknown"], top=7, after=after)
        assert len(page.rows) <= 7
        seen += [key for key, _ in page.rows]
        after = page.after
    assert seen == keys
    both = await views.find("orders", "who", ["tok_b", "tok_c"], top=10)
    assert [key for key, _ in both.rows] == ["moved", "other"]
    assert both.after is None


async def test_a_version_is_told_without_its_row(new_table: NewTable) -> None:
    """It changes with every write, and says when that was."""
    views = ReadModels(new_table())
    assert (await views.read("orders", "A"), await views.version("orders", "A")) == (None, None)
    before = datetime.now(UTC) - timedelta(seconds=5)
    await views.put([row("A", 1)])
    first = await views.read("orders", "A")
    assert first is not None
    assert (first.text, first.version) == ("A-1", await views.version("orders", "A"))
    assert first.modified is not None
    assert before < first.modified < datetime.now(UTC) + timedelta(seconds=5)
    await views.put([row("A", 2)])
    assert await views.version("orders", "A") != first.version
