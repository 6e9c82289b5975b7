"""The sweeper: publishes what a crash left, in order, and nothing that is still under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from shared.sending import EventPublisher
from shared.state import OutboxSweeper, StateStore, pack, partition_key
from tests.unit.memory import MemoryPublisher, MemoryState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def leave(store: MemoryState, bucket: int, key: str, age: float, text: str) -> None:
    """A fact in the outbox, so many seconds old."""
    row = {
        "PartitionKey": partition_key(bucket),
        "RowKey": f"outbox:{key}",
        "createdAt": NOW - timedelta(seconds=age),
        **pack(text),
    }
    await store.commit(bucket, [("create", row)])


def sweeper(store: MemoryState, publisher: MemoryPublisher) -> OutboxSweeper:
    """The sweeper at a fixed time."""
    return OutboxSweeper(
        cast("StateStore", store),
        cast("EventPublisher", publisher),
        now=lambda: NOW,
        settle_for=timedelta(seconds=10),
    )


async def test_leftovers_are_published_in_the_order_of_their_commits() -> None:
    """Row keys begin with random ids, so time decides."""
    store, publisher = MemoryState(), MemoryPublisher()
    await leave(store, 1, "b:0000", 30, "second")
    await leave(store, 1, "a:0000", 20, "third")
    await leave(store, 1, "c:0000", 40, "first")
    assert await sweeper(store, publisher).sweep() == 3
    assert [fact.body for fact in publisher.facts] == [b"first", b"second", b"third"]
    assert store.rows == {}


async def test_a_bucket_with_a_young_row_is_left_alone() -> None:
    """Its own batch is about to publish it; older ones first would be out of order."""
    store, publisher = MemoryState(), MemoryPublisher()
    await leave(store, 1, "a:0000", 30, "old")
    await leave(store, 1, "b:0000", 9.9, "young")
    await leave(store, 2, "c:0000", 30, "other bucket")
    assert await sweeper(store, publisher).sweep() == 1
    assert [fact.body for fact in publisher.facts] == [b"other bucket"]
    assert len(store.rows) == 2


async def test_rows_stay_when_they_could_not_be_published() -> None:
    """The next sweep tries again."""
    store, publisher = MemoryState(), MemoryPublisher()
    await leave(store, 1, "a:0000", 30, "fact")
    publisher.broken = ConnectionError("no hub")
    with pytest.raises(ExceptionGroup):
        await sweeper(store, publisher).sweep()
    assert len(store.rows) == 1
    publisher.broken = None
    assert await sweeper(store, publisher).sweep() == 1
    assert store.rows == {}


async def test_one_buckets_failure_does_not_hold_up_the_others() -> None:
    """A fact that no hub takes would otherwise starve every bucket behind it."""
    store, publisher = MemoryState(), MemoryPublisher()
    await leave(store, 0, "a:0000", 30, "stuck")
    await leave(store, 3, "b:0000", 30, "free")
    publisher.failures = [ValueError("too large")]
    with pytest.raises(ExceptionGroup, match="1 buckets"):
        await sweeper(store, publisher).sweep()
    assert [fact.body for fact in publisher.facts] == [b"free"]
    assert store.keys("outbox:") == ["outbox:a:0000"]
