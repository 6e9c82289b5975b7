"""The table in memory keeps the real one's promises."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core import MatchConditions
from azure.data.tables import UpdateMode

from shared.state import Conflict
from shared.testing import MemoryStore

REPLACE = {"mode": UpdateMode.REPLACE}


def row(key: str, **columns: Any) -> dict[str, Any]:
    return {"PartitionKey": "0001", "RowKey": key, **columns}


async def test_a_transaction_that_conflicts_changes_nothing() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [("create", row("a", value="first"))])
    with pytest.raises(Conflict) as conflict:
        await store.commit(1, [("upsert", row("b", value="x"), REPLACE), ("create", row("a", value="second"))])
    assert conflict.value.row_key == "a"
    found = await store.find(1, ["a", "b"])
    assert {key: found[key]["value"] for key in found} == {"a": "first"}


async def test_an_update_needs_the_etag_that_was_loaded() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [("create", row("a", n=1))])
    etag = (await store.find(1, ["a"]))["a"].metadata["etag"]  # type: ignore[attr-defined]
    guard = {**REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified}
    await store.commit(1, [("update", row("a", n=2), guard)])
    with pytest.raises(Conflict):
        await store.commit(1, [("update", row("a", n=3), guard)])
    with pytest.raises(Conflict):
        await store.commit(1, [("delete", row("a"), guard)])
    assert (await store.find(1, ["a"]))["a"]["n"] == 2


async def test_replacing_drops_columns_and_merging_keeps_them() -> None:
    store = MemoryStore(buckets=4)
    await store.commit(1, [("create", row("a", n=1, m=1))])
    await store.commit(1, [("upsert", row("a", n=2))])
    assert (await store.find(1, ["a"]))["a"] == row("a", n=2, m=1)
    await store.commit(1, [("upsert", row("a", n=3), REPLACE)])
    assert (await store.find(1, ["a"]))["a"] == row("a", n=3)


@pytest.mark.parametrize(
    "operations",
    [
        [("upsert", row("a"), REPLACE), ("upsert", row("a"), REPLACE)],
        [("upsert", row(str(number)), REPLACE) for number in range(101)],
        [("upsert", row("a") | {"PartitionKey": "0002"}, REPLACE)],
    ],
)
async def test_what_no_table_takes_is_refused(operations: list[Any]) -> None:
    with pytest.raises(ValueError, match="one transaction"):
        await MemoryStore(buckets=4).commit(1, operations)


async def test_the_outbox_is_read_in_order() -> None:
    store = MemoryStore(buckets=4)
    keys = ("outbox:k:0002", "inbox:m", "outbox:k:0001", "outbox:l:0001")
    await store.commit(1, [("create", row(key, subject=key[7:8])) for key in keys])
    assert [found["RowKey"] async for found in store.outbox(1, "k")] == ["outbox:k:0001", "outbox:k:0002"]
    await store.delete(1, ["outbox:k:0001", "gone"])
    assert [found["RowKey"] async for found in store.outbox(1)] == ["outbox:k:0002", "outbox:l:0001"]
