"""What every store of rows must do, in memory as on a real Table service; a new store joins `STORES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.core.exceptions import HttpResponseError

from shared.tables import (
    Condition,
    Conflict,
    Create,
    Delete,
    Entity,
    MemoryTable,
    Operation,
    Query,
    Replace,
    Table,
    TransactionFailed,
    Upsert,
    again_on_conflict,
)
from shared.tables.azure import AzureTable

STORES = ["memory", "azurite"]
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


@pytest.fixture(params=STORES)
async def table(request: pytest.FixtureRequest) -> AsyncIterator[Table]:
    """A table that nobody has made yet."""
    name = f"t{uuid4().hex}"
    made: Table
    if request.param == "memory":
        made = MemoryTable(name)
    else:
        made = AzureTable.from_connection_string(request.getfixturevalue("azurite").connection_string, name)
    yield made
    await made.close()


def row(key: str, partition: str = "p", /, **columns: Any) -> dict[str, Any]:
    """A row."""
    return {"PartitionKey": partition, "RowKey": key, **columns}


async def found(table: Table, query: Query | None = None) -> list[str]:
    """The row keys of a query."""
    return [str(one["RowKey"]) async for one in table.query(query or Query())]


async def test_where_nothing_was_written_nothing_is_found(table: Table) -> None:
    """A table that isn't there is an empty one."""
    assert await table.get("p", "a") is None
    assert await found(table) == []
    assert (await table.page(Query(size=10))).rows == []
    await table.probe()


async def test_the_table_is_made_with_its_first_row_and_many_first_rows_do_no_harm(table: Table) -> None:
    """Two instances start at the same moment."""
    await asyncio.gather(*(table.submit([Create(row(str(number)))]) for number in range(5)))
    await table.ensure_created()
    await table.ensure_created()
    assert await found(table) == ["0", "1", "2", "3", "4"]


async def test_every_type_comes_back_as_it_was(table: Table) -> None:
    """Columns without a value aren't kept."""
    columns: dict[str, Any] = {
        "text": "Größe 日本 😀 'quoted'",
        "empty": "",
        "small": 7,
        "large": 2**40,
        "yes": True,
        "number": 1.5,
        "whole": 2.0,
        "moment": NOW,
        "binary": bytes(range(256)),
        "guid": UUID(int=5),
    }
    await table.submit([Create(row("a", nothing=None, **columns))])
    known = await table.get("p", "a")
    assert known == row("a", **columns)
    assert known is not None
    assert known.etag
    assert type(known["whole"]) is float
    assert await table.get("p", "a", select=["small", "PartitionKey"]) == {"small": 7, "PartitionKey": "p"}


KEYS = ["it's", "''", "a b", " ", "100%", "%2F", "+&=,;:@$!*()~", "日本語", "😀" * 100, "k" * 512]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
async def test_a_key_may_be_anything_that_a_key_may_be(table: Table, key: str) -> None:
    """In reads, queries and transactions."""
    await table.submit([Create(row(key, key, name=key))])
    known = await table.get(key, key)
    assert known is not None
    assert [one["name"] async for one in table.query(Query(partition=key, first=key))] == [key]
    await table.submit([Replace(row(key, key, name="x"), known.etag)])
    await table.submit([Delete(row(key, key))])
    assert await table.get(key, key) is None


async def stored(table: Table, key: str) -> Entity:
    """A row that is there."""
    known = await table.get("p", key)
    assert known is not None
    return known


async def version(table: Table, key: str) -> str | None:
    """The ETag of a row."""
    return (await stored(table, key)).etag


async def test_a_write_gives_the_new_version(table: Table) -> None:
    """It is the one that a read gives, and differs from the one before."""
    first = await table.submit([Create(row("a")), Upsert(row("b"))])
    assert first == [await version(table, "a"), await version(table, "b")]
    second = await table.submit([Replace(row("a", n=2), first[0]), Upsert(row("b", n=2)), Create(row("c"))])
    assert second == [await version(table, key) for key in "abc"]
    assert not set(first) & set(second)
    assert await table.submit([Delete(row("a"), second[0]), Delete(row("b"))]) == [None, None]


@pytest.mark.parametrize("wrong", ["there", "gone", "changed", "deleted", "deleted when changed"])
async def test_what_meets_an_unexpected_row_is_a_conflict_and_nothing_of_it_is_done(table: Table, wrong: str) -> None:
    """It names the row that stood in the way."""
    old = (await table.submit([Create(row("there", n=1))]))[0]
    await table.submit([Upsert(row("there", n=2))])
    operations: dict[str, Operation] = {
        "there": Create(row("there")),
        "gone": Replace(row("absent"), old),
        "changed": Replace(row("there", n=3), old),
        "deleted": Delete(row("absent")),
        "deleted when changed": Delete(row("there"), old),
    }
    operation = operations[wrong]
    with pytest.raises(Conflict) as caught:
        await table.submit([Create(row("one")), operation, Create(row("two"))])
    assert caught.value.row_key == operation.row["RowKey"]
    assert await found(table) == ["there"]
    assert (await stored(table, "there"))["n"] == 2


async def test_replacing_and_upserting_leave_no_column_of_before(table: Table) -> None:
    """Nothing is merged."""
    etags = await table.submit([Create(row("a", old=1)), Create(row("b", old=1))])
    await table.submit([Replace(row("a", new=1), etags[0]), Upsert(row("b", new=1))])
    assert await table.get("p", "a") == row("a", new=1)
    assert await table.get("p", "b") == row("b", new=1)


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([Create(row(str(number))) for number in range(101)], 400),
        ([Create(row("a")), Create(row("b", "q"))], 400),
        ([Create(row("a")), Upsert(row("a"))], 400),
        ([Create(row("a")), Create(row("b", text="x" * 32_769))], 400),
        ([Create(row("a")), Create(row("b", data=bytes(65_537)))], 400),
        ([Create(row("a")), Create(row("b", **{f"c{n}": bytes(65_536) for n in range(17)}))], 400),
        ([Create(row(f"k{k}", **{f"c{n}": bytes(65_536) for n in range(12)})) for k in range(6)], 413),
    ],
    ids=["too many", "two partitions", "a row twice", "a long text", "long data", "a large row", "too large"],
)
async def test_what_no_transaction_takes_is_refused_whole(
    request: pytest.FixtureRequest, table: Table, operations: list[Operation], status: int
) -> None:
    """A refusal isn't a conflict: another try meets it again."""
    if "azurite-a large row" in request.node.name:
        pytest.skip("Azurite takes a row of more than 1 MiB, Azure doesn't")
    await table.ensure_created()
    with pytest.raises(HttpResponseError) as caught:
        await table.submit(operations)
    assert caught.value.status_code == status
    assert await found(table) == []


async def test_a_hundred_rows_are_one_transaction(table: Table) -> None:
    """The limit itself is taken, as is a text of 64 KiB."""
    await table.submit([Create(row(f"{number:03}")) for number in range(100)])
    await table.submit([Create(row("long", "q", text="x" * 32_768, data=bytes(65_536)))])
    assert len(await found(table, Query(partition="p"))) == 100


@pytest.mark.parametrize("operation", [Replace(row("a"), ""), Replace(row("a"), None)])
async def test_a_guard_without_a_version_is_refused(table: Table, operation: Operation) -> None:
    """It would guard nothing."""
    await table.submit([Create(row("a"))])
    with pytest.raises(ValueError, match="ETag"):
        await table.submit([operation])


async def filled(table: Table) -> None:
    """Some rows of two partitions."""
    for partition in ("p", "q"):
        await table.submit(
            [
                Create(row(f"{kind}:{number}", partition, number=number, kind=kind, at=NOW + timedelta(days=number)))
                for kind in ("a", "b")
                for number in range(3)
            ]
        )
    await table.submit([Create(row("c", "p", other="it's"))])


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        (Query(partition="q"), ["a:0", "a:1", "a:2", "b:0", "b:1", "b:2"]),
        (Query(partition="p", first="a:", end="a;"), ["a:0", "a:1", "a:2"]),
        (Query(partition="p", first="a:2", end="b:1"), ["a:2", "b:0"]),
        (Query(partition="q", where=[Condition("RowKey", "gt", "b:0")]), ["b:1", "b:2"]),
        (Query(partition="q", where=[Condition("number", "ge", 2)]), ["a:2", "b:2"]),
        (Query(partition="q", where=[Condition("at", "lt", NOW + timedelta(days=1))]), ["a:0", "b:0"]),
        (Query(partition="q", where=[Condition("at", "le", NOW)]), ["a:0", "b:0"]),
        (Query(partition="q", where=[Condition("kind", "ne", "a"), Condition("number", "eq", 1)]), ["b:1"]),
        (Query(partition="q", where=[Condition("kind", "in", ("x", "b")), Condition("number", "lt", 1)]), ["b:0"]),
        (Query(partition="p", where=[Condition("other", "gt", "")]), ["c"]),
        (Query(where=[Condition("other", "eq", "it's")]), ["c"]),
        (Query(where=[Condition("other", "eq", "' or RowKey ge '")]), []),
        (Query(where=[Condition("kind", "eq", "b"), Condition("number", "eq", 0)]), ["b:0", "b:0"]),
    ],
)
async def test_a_query_finds_the_rows_that_fit_in_their_order(table: Table, query: Query, keys: list[str]) -> None:
    """By keys and by columns; no value becomes a part of the question."""
    await filled(table)
    assert await found(table, query) == keys


async def test_a_query_gives_the_columns_that_are_asked_for_and_the_version(table: Table) -> None:
    """What reads a row to change it needs no more."""
    await filled(table)
    query = Query(partition="p", where=[Condition("other", "gt", "")], select=["RowKey", "other"])
    rows: list[Entity] = [one async for one in table.query(query)]
    assert rows == [{"RowKey": "c", "other": "it's"}]
    assert rows[0].etag == await version(table, "c")


async def test_pages_follow_each_other_without_gap_and_repeat(table: Table) -> None:
    """Whatever their size; what `next` says can be kept as JSON."""
    await filled(table)
    seen: list[str] = []
    start = None
    for _ in range(20):
        page = await table.page(Query(size=2), start)
        assert len(page.rows) <= 2
        seen += [f"{one['PartitionKey']}{one['RowKey']}" for one in page.rows]
        start = page.next
        if start is None:
            break
        assert all(isinstance(part, str) for part in (*start, *start.values()))
    assert start is None
    assert seen == [f"{one['PartitionKey']}{one['RowKey']}" async for one in table.query(Query(size=5))]
    assert len(seen) == 13


async def test_more_rows_than_one_answer_holds_are_all_found(table: Table) -> None:
    """The service gives a thousand at a time."""
    groups = [[Create(row(f"{number:05}")) for number in range(start, start + 100)] for start in range(0, 1_100, 100)]
    for group in groups:
        await table.submit(group)
    assert await found(table) == [f"{number:05}" for number in range(1_100)]


async def test_of_many_who_change_a_row_at_once_none_is_lost(table: Table) -> None:
    """Optimistic concurrency: read, decide, submit, and again where somebody was first."""
    await table.submit([Create(row("counter", n=0))])

    async def count() -> None:
        known = await stored(table, "counter")
        await asyncio.sleep(0)
        await table.submit([Replace(row("counter", n=known["n"] + 1), known.etag)])

    await asyncio.gather(*(again_on_conflict(count, subject="the counter", tries=50) for _ in range(12)))
    assert (await stored(table, "counter"))["n"] == 12


async def test_what_keeps_changing_is_given_up() -> None:
    """With the name of it, as a time-out: the next delivery tries again."""
    tries = []

    async def never() -> None:
        tries.append(1)
        raise Conflict("a")

    with pytest.raises(TimeoutError, match="the row keeps changing"):
        await again_on_conflict(never, subject="the row", tries=3)
    assert len(tries) == 3


@pytest.mark.parametrize("key", ["a/b", "a\\b", "a#b", "a?b", "a\tb", "a\x7fb", "k" * 513])
async def test_memory_refuses_the_keys_that_azure_refuses(key: str) -> None:
    """Azurite takes some of them."""
    with pytest.raises(TransactionFailed) as caught:
        await MemoryTable().submit([Create(row(key))])
    assert caught.value.status_code == 400
