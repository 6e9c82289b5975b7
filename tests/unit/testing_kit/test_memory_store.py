"""The table in memory keeps the real one's promises."""

from __future__ import annotations

from typing import Any

import pytest

from shared.state import Conflict
from shared.tables import Create, Delete, Replace, TransactionFailed, Upsert, etag_of
from shared.testing import MemoryStore


def row(key: str, **columns: Any) -> dict[str, Any]:
    return {"PartitionKey": "0001", "RowKey": key, **columns}


async def test_a_transaction_that_conflicts_changes_nothing() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [Create(row("a", value="first"))])
    with pytest.raises(Conflict) as conflict:
        await store.commit(1, [Upsert(row("b", value="x")), Create(row("a", value="second"))])
    assert conflict.value.row_key == "a"
    found = await store.find(1, ["a", "b"])
    assert {key: found[key]["value"] for key in found} == {"a": "first"}


async def test_an_update_needs_the_etag_that_was_loaded() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [Create(row("a", n=1))])
    guard = etag_of((await store.find(1, ["a"]))["a"])
    await store.commit(1, [Replace(row("a", n=2), guard)])
    with pytest.raises(Conflict):
        await store.commit(1, [Replace(row("a", n=3), guard)])
    with pytest.raises(Conflict):
        await store.commit(1, [Delete(row("a"), guard)])
    assert (await store.find(1, ["a"]))["a"]["n"] == 2


async def test_replacing_drops_columns() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [Create(row("a", n=1, m=1))])
    await store.commit(1, [Upsert(row("a", n=3))])
    assert (await store.find(1, ["a"]))["a"] == row("a", n=3)


@pytest.mark.parametrize(
    "operations",
    [
        [Upsert(row("a")), Upsert(row("a"))],
        [Upsert(row(str(number))) for number in range(101)],
        [Upsert(row("a") | {"PartitionKey": "0002"})],
    ],
)
async def test_what_no_table_takes_is_refused(operations: list[Any]) -> None:
    with pytest.raises((TransactionFailed, ValueError), match="transaction"):
        await MemoryStore(buckets=4).commit(1, operations)


async def test_the_outbox_is_read_in_order() -> None:
    store = MemoryStore(buckets=4)
    keys = ("outbox:k:0002", "inbox:m", "outbox:k:0001", "outbox:l:0001")
    await store.commit(1, [Create(row(key, subject=key[7:8])) for key in keys])
    assert [found["RowKey"] async for found in store.outbox(1, "k")] == ["outbox:k:0001", "outbox:k:0002"]
    await store.delete(1, ["outbox:k:0001", "gone"])
    assert [found["RowKey"] async for found in store.outbox(1)] == ["outbox:k:0002", "outbox:l:0001"]
