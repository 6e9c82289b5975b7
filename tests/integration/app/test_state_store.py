"""The state table on a real Table service: whole transactions, any key, and a layout that is never mistaken."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from shared.messages import Contract, Headers, Lane, PayloadHash
from shared.outbox import Outbox
from shared.sending import EventPublisher, Lanes
from shared.state import (
    Conflict,
    InboxSweeper,
    Lease,
    Row,
    StateMismatch,
    StateStore,
    outbox_key,
    pack,
    partition_key,
    sequence_key,
    state_key,
    unpack,
)
from shared.tables import Create, Query
from shared.work import Work
from tests.unit.memory import MemoryLanes, MemoryPublisher

from .conftest import NewTable

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
KEYS = [
    "536365",
    "a/b\\c#d?e",
    "100%",
    "%2F",
    "it's",
    "''",
    "a b",
    " ",
    "tab\tnew\nline\x00\x7f\x9f",
    "Größe",
    "日本語",
    "😀" * 128,
    "/" * 128,
    "+&=,;:@$!*()~",
    "k" * 128,
]


class Stock(Contract):
    """State of these tests."""

    count: int
    note: str = ""


def row(bucket: int, key: str, **columns: Any) -> dict[str, Any]:
    """A row of a bucket."""
    return {"PartitionKey": partition_key(bucket), "RowKey": key, **columns}


def work(store: StateStore, number: int, key: str) -> Work:
    """A unit of work."""
    headers = Headers(
        message_id=UUID(int=number),
        event_type="stock.moved",
        version="1.0",
        source="/shop",
        key=key,
        lane=Lane.NORMAL,
        correlation_id="c",
        first_attempt_at=NOW,
    )
    return Work(
        headers=headers,
        buckets=store.buckets,
        source="/sluice",
        load=store.find,
        now=lambda: NOW,
        payload_hash=PayloadHash("f", "f"),
    )


@pytest.fixture
def store(new_table: NewTable) -> StateStore:
    """A store whose table doesn't exist yet."""
    return StateStore([new_table()], buckets=4)


async def test_the_first_use_makes_the_table_and_many_first_uses_do_no_harm(new_table: NewTable) -> None:
    """Two instances start at the same moment."""
    table = new_table()
    stores = [StateStore([new_table(table.name)], buckets=4) for _ in range(2)]
    await asyncio.gather(*(store.open() for store in stores for _ in range(5)))
    assert await stores[0].find(0, ["nothing"]) == {}


async def test_a_transaction_is_done_whole_or_not_at_all(store: StateStore) -> None:
    """And says which row stood in the way."""
    await store.commit(1, [Create(row(1, "there"))])
    with pytest.raises(Conflict) as caught:
        await store.commit(1, [Create(row(1, "one")), Create(row(1, "there")), Create(row(1, "two"))])
    assert caught.value.row_key == "there"
    assert (await store.find(1, ["one", "two", "there"])).keys() == {"there"}


async def test_a_hundred_rows_are_one_transaction(store: StateStore) -> None:
    """The service's limit."""
    keys = [f"k{number}" for number in range(100)]
    await store.commit(1, [Create(row(1, key)) for key in keys])
    found = await store.find(1, keys)
    assert found.keys() == set(keys)
    await store.delete(1, [*keys, "never there"])
    assert await store.find(1, keys) == {}


@pytest.mark.parametrize("count", [0, 1, 2, 14, 15, 29, 100])
async def test_any_number_of_rows_is_found_at_once(store: StateStore, count: int) -> None:
    """In as many look-ups as the filter's limit asks for; twice the same key is one row."""
    keys = [f"it's {number}" for number in range(count)]
    if keys:
        await store.commit(2, [Create(row(2, key)) for key in keys])
    assert (await store.find(2, [*keys, *keys, "absent"])).keys() == set(keys)
    assert await store.find(3, keys) == {}


async def test_deleting_with_a_rival_deletes_the_rest(store: StateStore) -> None:
    """Some rows are gone already."""
    keys = [f"k{number}" for number in range(10)]
    await store.commit(0, [Create(row(0, key)) for key in keys])
    await store.delete(0, keys[:3])
    await asyncio.gather(store.delete(0, keys), store.delete(0, keys))
    assert await store.find(0, keys) == {}


@pytest.mark.parametrize("key", KEYS)
async def test_any_key_of_an_aggregate_keeps_its_state(store: StateStore, key: str) -> None:
    """Saved, found alone and among others, guarded, deleted."""
    first = work(store, 1, key)
    await first.save("stock", key, Stock(count=1, note=key))
    first.publish("stock.counted", Stock(count=1, note=key))
    await store.commit(first.bucket, first.operations())
    second = work(store, 2, key)
    assert await second.load("stock", key, Stock) == Stock(count=1, note=key)
    await second.save("stock", key, Stock(count=2))
    await store.commit(second.bucket, second.operations())
    wanted = [state_key("stock", key), sequence_key(key), outbox_key(key, 1)]
    assert (await store.find(first.bucket, wanted)).keys() == set(wanted)
    assert [row["RowKey"] async for row in store.outbox(first.bucket, key)] == wanted[2:]
    third = work(store, 3, key)
    await third.delete("stock", key)
    await store.commit(third.bucket, third.operations())
    assert await work(store, 4, key).load("stock", key, Stock) is None


@pytest.mark.parametrize(
    "text",
    ["", "a" * 32_000, "a" * 32_001, "é" * 32_000, "é" * 70_000, "😀" * 16_000, "😀" * 190_000, "a" * 786_432],
    ids=lambda text: f"{text[:1]}-{len(text)}",
)
async def test_a_value_of_any_size_that_is_taken_is_kept(store: StateStore, text: str) -> None:
    """Through one text column or several binary ones."""
    await store.commit(0, [Create(row(0, "value", **pack(text)))])
    found = await store.find(0, ["value"])
    assert unpack(found["value"]) == text


async def test_what_was_read_guards_what_is_written(store: StateStore) -> None:
    """Of two that had read the same, the second changes nothing."""
    first, second = work(store, 1, "A"), work(store, 2, "A")
    for unit in (first, second):
        assert await unit.load("stock", "A", Stock) is None
        await unit.save("stock", "A", Stock(count=1))
    await store.commit(first.bucket, first.operations())
    with pytest.raises(Conflict):
        await store.commit(second.bucket, second.operations())
    third, fourth = work(store, 3, "A"), work(store, 4, "A")
    for unit in (third, fourth):
        assert await unit.load("stock", "A", Stock) == Stock(count=1)
        await unit.save("stock", "A", Stock(count=2))
    await store.commit(third.bucket, third.operations())
    with pytest.raises(Conflict):
        await store.commit(fourth.bucket, fourth.operations())
    assert await store.find(first.bucket, [f"inbox:{UUID(int=4)}"]) == {}


@pytest.mark.parametrize(("buckets", "accounts"), [(5, 1), (4, 2)])
async def test_another_layout_than_the_tables_own_is_refused(new_table: NewTable, buckets: int, accounts: int) -> None:
    """Every key would be looked up in the wrong place."""
    first = new_table()
    await StateStore([first], buckets=4).open()
    tables = [new_table(first.name), *(new_table() for _ in range(accounts - 1))]
    with pytest.raises(StateMismatch, match="SLUICE_STATE_BUCKETS"):
        await StateStore(tables, buckets=buckets).find(0, ["x"])


async def test_accounts_in_another_order_are_refused(new_table: NewTable) -> None:
    """The second is not the first."""
    names = [new_table().name, new_table().name]
    await StateStore([new_table(name) for name in names], buckets=4).open()
    with pytest.raises(StateMismatch):
        await StateStore([new_table(name) for name in reversed(names)], buckets=4).open()


async def test_buckets_spread_over_accounts(new_table: NewTable) -> None:
    """Each bucket is in one of them."""
    tables = [new_table(), new_table()]
    store = StateStore(tables, buckets=4)
    for bucket in range(4):
        await store.commit(bucket, [Create(row(bucket, "x"))])
    for number, table in enumerate(tables):
        rows = [found["PartitionKey"] async for found in table.query(Query(first="x", end="y"))]
        assert sorted(rows) == [partition_key(number), partition_key(number + 2)]


async def test_the_outbox_is_listed_and_swept_in_the_order_of_its_facts(store: StateStore) -> None:
    """Of one key among keys that begin like it, and of all."""
    bucket = 1
    for key, sequence in (("A", 10), ("A", 9), ("A:B", 1), ("A;", 1), ("AB", 1), ("a", 1)):
        columns = {"kind": "event", "subject": key, "createdAt": NOW - timedelta(seconds=30)}
        columns |= pack(f"{key} {sequence}")
        await store.commit(bucket, [Create(row(bucket, outbox_key(key, sequence), **columns))])
    await store.commit(bucket, [Create(row(bucket, key)) for key in ("outboy", "outbox", "inbox:x", "head:A")])
    assert [unpack(found) async for found in store.outbox(bucket, "A")] == ["A 9", "A 10"]
    assert [unpack(found) async for found in store.outbox(bucket, "A:B")] == ["A:B 1"]
    listed: list[Row] = [found async for found in store.outbox(bucket)]
    assert sorted(unpack(found) for found in listed) == ["A 10", "A 9", "A:B 1", "A; 1", "AB 1", "a 1"]
    publisher = MemoryPublisher()
    outbox = Outbox(
        store,
        cast("EventPublisher", publisher),
        cast("Lanes", MemoryLanes()),
        now=lambda: NOW,
        settle_for=timedelta(seconds=10),
    )
    assert await outbox.sweep() == 6
    bodies = [fact.body for fact in publisher.facts]
    assert bodies.index(b"A 9") < bodies.index(b"A 10")
    assert await outbox.sweep() == 0
    assert (await store.find(bucket, ["outboy", "outbox", "inbox:x", "head:A"])).keys() == {
        "outboy",
        "outbox",
        "inbox:x",
        "head:A",
    }


async def test_inbox_records_go_after_their_retention(store: StateStore) -> None:
    """The service's own filter: done or dead and old, but no open replay, and nothing beside the inbox."""
    for bucket in range(store.buckets):
        rows = {
            "inbox:old": {"status": "done", "processedAt": NOW - timedelta(days=61)},
            "inbox:dead": {"status": "dead", "processedAt": NOW - timedelta(days=61)},
            "inbox:open": {"status": "replaying", "processedAt": NOW - timedelta(days=61)},
            "inbox:new": {"status": "done", "processedAt": NOW - timedelta(days=59)},
            "inboxes": {"status": "done", "processedAt": NOW - timedelta(days=61)},
            "state:x:A": {"status": "done", "processedAt": NOW - timedelta(days=61)},
        }
        await store.commit(bucket, [Create(row(bucket, key, **columns)) for key, columns in rows.items()])
    sweeper = InboxSweeper(store, retention=timedelta(days=60), now=lambda: NOW)
    assert await sweeper.sweep() == 2 * store.buckets
    assert await sweeper.sweep() == 0
    left = await store.find(2, ["inbox:old", "inbox:dead", "inbox:open", "inbox:new", "inboxes", "state:x:A"])
    assert left.keys() == {"inbox:open", "inbox:new", "inboxes", "state:x:A"}


async def test_a_lease_has_one_holder_on_a_real_table(store: StateStore) -> None:
    """Of many that ask at once, when it is free and when it has run out."""
    now = NOW
    leases = [Lease(store, "sweep", seconds=60, now=lambda: now) for _ in range(6)]
    for _ in range(2):
        assert sum(await asyncio.gather(*(lease.acquire() for lease in leases))) == 1
        now += timedelta(seconds=61)
    for lease in leases:
        await lease.release()
    assert await leases[0].acquire()
