"""The unit of work: what a handler stages becomes one transaction, guarded by what it had read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.messages import CloudEvent, Contract, Headers, Lane, PayloadHash
from shared.state import Conflict, TooLarge, unpack
from shared.work import Work
from tests.unit.memory import MemoryState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Stock(Contract):
    """State of these tests."""

    count: int
    note: str = ""


class Other(Contract):
    """Another model."""

    name: str = ""


def headers(number: int = 1, key: str = "A") -> Headers:
    """Headers of a message."""
    return Headers(
        message_id=UUID(int=number),
        event_type="stock.moved",
        version="1.0",
        source="/shop",
        key=key,
        lane=Lane.NORMAL,
        correlation_id="c-1",
        first_attempt_at=NOW,
    )


def work(store: MemoryState, number: int = 1, key: str = "A") -> Work:
    """A unit of work on the store."""
    return Work(
        headers=headers(number, key),
        buckets=store.buckets,
        source="/sluice",
        load=store.find,
        now=lambda: NOW,
        payload_hash=PayloadHash("f" * 64, "f" * 64),
        traceparent="00-1-2-01",
    )


async def commit(store: MemoryState, unit: Work) -> None:
    """Write what was staged."""
    await store.commit(unit.bucket, unit.operations())


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


async def test_nothing_is_written_before_the_commit_and_all_of_it_then(store: MemoryState) -> None:
    """Inbox record, state, head and outbox rows in one transaction."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1))
    unit.publish("stock.counted", Stock(count=1))
    assert store.rows == {}
    await commit(store, unit)
    assert [key for _, key in store.rows] == [
        f"inbox:{UUID(int=1)}",
        "state:stock:A",
        "head:A",
        "outbox:A:000000000001",
    ]
    assert len(store.transactions) == 1


async def test_what_was_saved_is_loaded_again(store: MemoryState) -> None:
    """Within the same work and by the next message."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1, note="große 😀"))
    assert await unit.load("stock", "A", Stock) == Stock(count=1, note="große 😀")
    await commit(store, unit)
    assert await work(store, 2).load("stock", "A", Stock) == Stock(count=1, note="große 😀")
    assert await work(store, 2).load("other", "A", Stock) is None


async def test_a_value_over_several_columns_shrinks_without_remains(store: MemoryState) -> None:
    """The row is replaced, not merged."""
    for number, note in enumerate(("é" * 100_000, "short"), start=1):
        unit = work(store, number)
        await unit.save("stock", "A", Stock(count=number, note=note))
        await commit(store, unit)
    assert await work(store, 3).load("stock", "A", Stock) == Stock(count=2, note="short")


async def test_loading_as_another_model_than_was_staged_is_a_mistake(store: MemoryState) -> None:
    """It would otherwise differ from what the next message reads."""
    unit = work(store)
    await unit.save("stock", "A", Stock(count=1))
    with pytest.raises(TypeError, match="saved as Stock, not Other"):
        await unit.load("stock", "A", Other)


async def test_a_change_after_loading_is_a_conflict(store: MemoryState) -> None:
    """The second of two that had read the same loses, whole."""
    first, second = work(store, 1), work(store, 2)
    for unit in (first, second):
        assert await unit.load("stock", "A", Stock) is None
        await unit.save("stock", "A", Stock(count=1))
    await commit(store, first)
    with pytest.raises(Conflict):
        await commit(store, second)
    assert store.inbox(UUID(int=2)) is None

    third, fourth = work(store, 3), work(store, 4)
    for unit in (third, fourth):
        assert await unit.load("stock", "A", Stock) == Stock(count=1)
        await unit.save("stock", "A", Stock(count=2))
    await commit(store, third)
    with pytest.raises(Conflict):
        await commit(store, fourth)


async def test_a_save_without_loading_replaces_whatever_is_there(store: MemoryState) -> None:
    """Nothing was read, so nothing can have changed."""
    for number in (1, 2):
        unit = work(store, number)
        await unit.save("stock", "A", Stock(count=number))
        await commit(store, unit)
    assert await work(store, 3).load("stock", "A", Stock) == Stock(count=2)


async def test_deleting_forgets_and_is_guarded_as_well(store: MemoryState) -> None:
    """Also when the row changes after it was looked at."""
    unit = work(store, 1)
    await unit.save("stock", "A", Stock(count=1))
    await commit(store, unit)

    unit, rival = work(store, 2), work(store, 3)
    await unit.delete("stock", "A")
    assert await unit.load("stock", "A", Stock) is None
    await rival.save("stock", "A", Stock(count=9))
    await commit(store, rival)
    with pytest.raises(Conflict):
        await commit(store, unit)

    unit = work(store, 4)
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert await work(store, 5).load("stock", "A", Stock) is None


async def test_deleting_what_is_not_there_changes_nothing(store: MemoryState) -> None:
    """The message is still remembered."""
    unit = work(store)
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert store.keys("") == [f"inbox:{UUID(int=1)}"]


async def test_delete_then_save_and_save_then_delete(store: MemoryState) -> None:
    """The last word counts."""
    unit = work(store)
    await unit.delete("stock", "A")
    await unit.save("stock", "A", Stock(count=5))
    await commit(store, unit)
    assert await work(store, 2).load("stock", "A", Stock) == Stock(count=5)
    unit = work(store, 3)
    await unit.save("stock", "A", Stock(count=6))
    await unit.delete("stock", "A")
    await commit(store, unit)
    assert await work(store, 4).load("stock", "A", Stock) is None


@pytest.mark.parametrize("buckets", [1, 4])
async def test_one_message_changes_one_aggregate(buckets: int) -> None:
    """Even where chance puts two of them into one bucket: in production chance would not."""
    unit = work(MemoryState(buckets))
    for call in (
        unit.save("stock", "B", Stock(count=1)),
        unit.load("stock", "B", Stock),
        unit.delete("stock", "B"),
    ):
        with pytest.raises(ValueError, match="another aggregate"):
            await call


async def test_a_value_too_large_is_refused_while_the_handler_runs(store: MemoryState) -> None:
    """Where it can still be told which one it was."""
    with pytest.raises(TooLarge):
        await work(store).save("stock", "A", Stock(count=1, note="x" * 1_000_000))


async def test_facts_carry_their_order_key_and_trace(store: MemoryState) -> None:
    """Distinct ids, the aggregate as subject, the correlation id."""
    unit = work(store)
    unit.publish("stock.counted", Stock(count=1))
    unit.publish("stock.closed", Stock(count=2), version="2.0")
    await commit(store, unit)
    keys = store.keys("outbox:")
    assert keys == [row["RowKey"] for row in unit.outbox_rows()]
    rows = [next(row for (_, key), row in store.rows.items() if key == wanted) for wanted in keys]
    facts = [CloudEvent.from_json(unpack(row).encode()) for row in rows]
    assert [(fact.id, fact.type, fact.version, fact.sequence) for fact in facts] == [
        (f"{UUID(int=1)}:0", "stock.counted", "1.0", 1),
        (f"{UUID(int=1)}:1", "stock.closed", "2.0", 2),
    ]
    assert {(fact.subject, fact.correlation_id, fact.traceparent) for fact in facts} == {("A", "c-1", "00-1-2-01")}


async def test_the_inbox_record_tells_what_a_summary_counts(store: MemoryState) -> None:
    """Lane, times, payload."""
    await commit(store, work(store))
    row = store.inbox(UUID(int=1))
    assert row is not None
    wanted: dict[str, Any] = {
        "status": "done",
        "lane": "normal",
        "eventType": "stock.moved",
        "key": "A",
        "acceptedAt": NOW,
        "processedAt": NOW,
        "payloadSha256": "f" * 64,
    }
    assert wanted.items() <= row.items()
