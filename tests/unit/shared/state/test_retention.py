"""The inbox sweeper: what was settled long ago goes, within its time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from shared.state import InboxSweeper, StateStore, inbox_key, partition_key
from shared.tables import Create
from tests.unit.memory import MemoryState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RETENTION = timedelta(days=60)


async def settle(store: MemoryState, bucket: int, name: str, *, days: float, status: str = "done") -> None:
    """An inbox record, settled so many days ago."""
    row = {
        "PartitionKey": partition_key(bucket),
        "RowKey": inbox_key(name),
        "status": status,
        "processedAt": NOW - timedelta(days=days),
    }
    await store.commit(bucket, [Create(row)])


def sweeper(store: MemoryState, *, budget: float = 60, tick: float = 0) -> InboxSweeper:
    """A sweeper for whose clock every look takes a tick."""
    seconds = 0.0

    def clock() -> float:
        nonlocal seconds
        seconds += tick
        return seconds

    return InboxSweeper(cast("StateStore", store), retention=RETENTION, now=lambda: NOW, budget=budget, clock=clock)


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


async def test_what_is_past_its_retention_goes_and_nothing_else(store: MemoryState) -> None:
    """Done or dead; an open replay stays, however old."""
    await settle(store, 0, "old", days=60.1)
    await settle(store, 3, "old and dead", days=300, status="dead")
    await settle(store, 1, "young", days=59.9)
    await settle(store, 1, "replayed", days=300, status="replaying")
    row = {"PartitionKey": partition_key(2), "RowKey": "state:order:1", "value": "{}"}
    await store.commit(2, [Create(row)])
    assert await sweeper(store).sweep() == 2
    assert store.keys("") == ["inbox:replayed", "inbox:young", "state:order:1"]
    assert await sweeper(store).sweep() == 0


async def test_hundreds_go_in_one_sweep(store: MemoryState) -> None:
    """In groups that a transaction holds."""
    for number in range(250):
        await settle(store, 1, f"{number}", days=90)
    assert await sweeper(store).sweep() == 250
    assert store.rows == {}


async def test_a_sweep_without_time_gets_on_and_the_next_one_goes_on(store: MemoryState) -> None:
    """It ends at its budget."""
    for number in range(250):
        await settle(store, 1, f"{number}", days=90)
    swept = [await sweeper(store, budget=2.5, tick=1).sweep() for _ in range(3)]
    assert swept[0] == 100
    assert sum(swept) == 250


async def test_two_sweeps_at_once_do_no_harm(store: MemoryState) -> None:
    """A record that is gone already is fine."""
    await settle(store, 0, "old", days=90)
    await asyncio.gather(sweeper(store).sweep(), sweeper(store).sweep())
    assert store.rows == {}
