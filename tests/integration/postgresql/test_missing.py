"""Where the log lacks changes of a table, or a server lacks log: the table is read anew, or the capture says so."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from functions.composition.capturing import _event
from shared.changes import read_changes
from shared.postgresql import (
    ChangeRecord,
    Position,
    Postgresql,
    Session,
    SlotMoved,
    SourceUnavailable,
    UnfitSource,
)
from tests.integration.postgresql.memory import Captured, MemoryRow
from tests.integration.postgresql.server import Server


def told(records: list[ChangeRecord]) -> list[tuple[Any, ...]]:
    """Table, operation and key of each."""
    return [(one.table.partition(".")[2], one.value["op"], one.key["id"]) for one in records]


@pytest.fixture
async def captured(server: Server, database: asyncpg.Connection) -> Captured:
    """A capture of an empty table, beside another one with a row."""
    await database.execute("create table a (id int primary key); create table b (id int primary key)")
    await database.execute("insert into b values (1)")
    found = Captured(server.address, "public.a")
    await found.run()
    return found


async def test_a_table_waits_for_transactions_from_before_it_was_published(
    server: Server, database: asyncpg.Connection, captured: Captured
) -> None:
    """What they did to it before isn't in the log; the tables that were there before go on afterwards."""
    other = await server.connect()
    transaction = other.transaction()
    await transaction.start()
    await other.execute("insert into b values (2); insert into a values (1)")
    captured.tables = ("public.a", "public.b")
    assert await captured.capturing().run() is True
    assert await captured.capturing().run() is True
    assert captured.sent == []
    waits = 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 2:
            await transaction.commit()
        captured.seconds = 0.0 if waits > 2 else captured.seconds

    await captured.capturing(follow=True, sleep=sleep).run()
    await other.close()
    assert told(captured.sent) == [("b", "r", 1), ("b", "r", 2), ("a", "c", 1)]


async def test_a_table_that_an_older_release_passed_over_is_read_anew(
    database: asyncpg.Connection, captured: Captured
) -> None:
    """A release without the table has its turn between two with it."""
    both = ("public.a", "public.b")
    assert told(await captured.run(tables=both)) == [("b", "r", 1)]
    await database.execute("insert into b values (2); insert into a values (1)")
    assert told(await captured.run()) == [("a", "c", 1)]
    assert told(await captured.run(tables=both)) == [("b", "r", 1), ("b", "r", 2)]
    await database.execute("insert into b values (3)")
    assert told(await captured.run(tables=both)) == [("b", "c", 3)]


AWAY = {
    "made anew": "drop table b; create table b (id int primary key); insert into b values (2)",
    "made anew, published by its owner": "drop table b; create table b (id int primary key); insert into b values (2);"
    "alter publication sluice_crm add table b",
    "taken out": "alter publication sluice_crm drop table b; insert into b values (2)",
    "out for a time": "alter publication sluice_crm drop table b; insert into b values (2);"
    "alter publication sluice_crm add table b",
}


@pytest.mark.parametrize("statements", AWAY.values(), ids=AWAY)
async def test_a_table_of_which_the_log_lacks_changes_is_read_anew(
    database: asyncpg.Connection, captured: Captured, statements: str
) -> None:
    """Whoever published it again, and whether a run came in between."""
    captured.tables = ("public.a", "public.b")
    await captured.run()
    for statement in statements.split(";"):
        await database.execute(statement)
    again = await captured.run()
    assert {one[1] for one in told(again)} == {"r"}
    assert ("b", "r", 2) in told(again)
    await database.execute("insert into b values (3)")
    assert told(await captured.run()) == [("b", "c", 3)]


async def test_a_server_whose_log_ends_before_what_was_captured_is_refused(
    database: asyncpg.Connection, captured: Captured
) -> None:
    """One that lacked the end of the log took over: its new changes would count as sent."""
    progress = captured.progress
    ahead = progress.upto + (1 << 24)
    for wrong in (replace(progress, upto=ahead), replace(progress, position=Position(ahead, 1))):
        captured.row.values = wrong.columns()
        await database.execute("select pg_logical_emit_message(true, 'x', '')")
        with pytest.raises(SlotMoved, match="the server's log ends at"):
            await captured.run()


async def test_the_list_of_tables_may_change_in_the_middle_of_a_transaction(
    database: asyncpg.Connection, captured: Captured
) -> None:
    """Each change has its number whatever is captured: none is passed over, and none comes under two."""
    both = ("public.a", "public.b")
    await captured.run(tables=both)
    await database.execute(
        "do $$ begin for i in 2..900 loop insert into b values (i); update b set id = -i where id = i;"
        "insert into a values (i); end loop; end $$"
    )
    await captured.capturing(tables=both, time_left=lambda: 60.0 if len(captured.sent) < 500 else 0.0).run()
    assert 0 < len([one for one in captured.sent if one.table == "public.a"]) < 899
    await captured.run()
    assert [one.key["id"] for one in captured.sent if one.table == "public.a"] == list(range(2, 901))


async def test_the_clock_is_looked_at_while_changes_are_passed_over(
    database: asyncpg.Connection, captured: Captured
) -> None:
    """Also where nothing is sent."""
    await database.execute("alter publication sluice_crm add table b")
    await database.execute("insert into b select generate_series(2, 5000)")
    looks = iter([60.0, 60.0, 0.0])
    assert await captured.capturing(time_left=lambda: next(looks)).run() is True
    assert list(looks) == []


async def test_a_transaction_that_takes_longer_to_decode_than_a_run_is_named(
    database: asyncpg.Connection, captured: Captured
) -> None:
    """Where the run had all of its time for it; another one leaves it to the next."""

    class Impatient(Session):
        def peek(self, slot: str, publication: str, seconds: float) -> Any:
            return super().peek(slot, publication, 0.001)

    async def run() -> bool:
        capturing = captured.capturing()
        async with capturing.open() as session:
            session.__class__ = Impatient
            capturing.open = lambda: nullcontext(session)
            return await capturing.run()

    await database.execute("insert into a select generate_series(1, 50000)")
    with pytest.raises(SourceUnavailable, match="didn't decode the log"):
        await run()
    captured.tables = ("public.a", "public.b")
    assert await run() is True
    assert told(captured.sent) == [("b", "r", 1)]
    assert len(await captured.run()) == 50_000


async def test_messages_that_nobody_handles_are_passed_over(database: asyncpg.Connection, captured: Captured) -> None:
    """Any extension may write some."""
    for prefix in ("foreign", "outbox"):
        await database.execute("select pg_logical_emit_message(true, $1, 'x')", prefix)
    found = await captured.run(handles="outbox".__eq__)
    assert [dict(one.key) for one in found] == [{"prefix": "outbox"}]


KEYS = {
    "by default": ("select 1", "id", None),
    "beside it": ("select 1", "customer", "needs REPLICA IDENTITY FULL"),
    "whole rows": ("alter table c replica identity full", "customer", None),
    "no column": ("alter table c replica identity full", "other", "other, by which"),
    "one partition": (
        "drop table c; create table c (id int primary key, customer int) partition by range (id);"
        "create table c1 partition of c for values from (0) to (9); alter table c replica identity full",
        "customer",
        "needs REPLICA IDENTITY FULL",
    ),
}


@pytest.mark.parametrize(("statements", "key", "reason"), KEYS.values(), ids=KEYS)
async def test_each_change_must_tell_the_key_by_which_it_is_handled(
    server: Server, database: asyncpg.Connection, statements: str, key: str, reason: str | None
) -> None:
    """A deletion tells the replica identity alone."""
    await database.execute("create table c (id int primary key, customer int)")
    await database.execute(statements)
    captured = Captured(server.address, "public.c")
    if reason is None:
        assert await captured.run(named={"public.c": (key,)}) == []
        return
    with pytest.raises(UnfitSource, match=reason):
        await captured.run(named={"public.c": (key,)})


async def test_rows_that_are_read_again_are_other_messages(database: asyncpg.Connection, captured: Captured) -> None:
    """After a reset of an idle database, too: handlers have them once more."""
    await database.execute("insert into a values (1)")
    source = Postgresql("crm", tables=["public.a"])
    ids = set()
    for _ in range(2):
        captured.row = MemoryRow()
        for record in await captured.run():
            event = _event(source, record)
            ids |= {one.message_id for one in read_changes(json.loads(event.body), event.properties, lambda tables: {})}
    assert len(ids) == 2


async def test_partitions_under_their_own_names_are_refused(server: Server, database: asyncpg.Connection) -> None:
    """With the statement to run."""
    await database.execute("create table p (id int primary key) partition by range (id)")
    await database.execute(
        "create table p1 partition of p for values from (0) to (9); create publication sluice_p for table p"
    )
    captured = Captured(server.address, "public.p", source="p")
    with pytest.raises(UnfitSource, match="publish_via_partition_root") as refused:
        await captured.run()
    await database.execute(str(refused.value).partition("do this: ")[2])
    await captured.run()
    await database.execute("insert into p values (1)")
    assert told(await captured.run()) == [("p", "c", 1)]
