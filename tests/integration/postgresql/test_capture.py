"""Changes of a real PostgreSQL, captured: what is told, in which order, and what happens when something ends."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from shared.postgresql import (
    UNAVAILABLE,
    ChangeRecord,
    PublicationMissing,
    ServerAddress,
    Session,
    SlotLost,
    SlotMoved,
    SourceUnavailable,
    UnfitSource,
    opened,
)
from tests.integration.postgresql.memory import Captured, MemoryRow
from tests.integration.postgresql.server import Server, over_tcp

Database: TypeAlias = asyncpg.Connection


def told(records: list[ChangeRecord]) -> list[tuple[Any, ...]]:
    """Operation, key, before and after of each."""
    return [(one.value["op"], dict(one.key), one.value.get("before"), one.value.get("after")) for one in records]


async def test_a_table_is_read_and_then_its_changes_in_their_order(server: Server, database: Database) -> None:
    """Rows that are there first, then each change once: insertion, update, key change, deletion, truncation."""
    await database.execute(
        "create table customers (id int primary key, name text, credit numeric);"
        "insert into customers values (1, 'Ada', 1.10), (2, null, 'NaN')"
    )
    captured = Captured(server.address, "public.customers")
    assert told(await captured.run()) == [
        ("r", {"id": 1}, None, {"id": 1, "name": "Ada", "credit": "1.10"}),
        ("r", {"id": 2}, None, {"id": 2, "name": None, "credit": "NaN"}),
    ]
    await database.execute("insert into customers values (3, 'Grace', 12345678901234567890.123)")
    await database.execute("update customers set name = 'Bo' where id = 2; update customers set id = 4 where id = 1")
    await database.execute("delete from customers where id = 3")
    await database.execute("truncate customers")
    assert told(await captured.run()) == [
        ("c", {"id": 3}, None, {"id": 3, "name": "Grace", "credit": "12345678901234567890.123"}),
        ("u", {"id": 2}, None, {"id": 2, "name": "Bo", "credit": "NaN"}),
        ("d", {"id": 1}, {"id": 1}, None),
        ("c", {"id": 4}, None, {"id": 4, "name": "Ada", "credit": "1.10"}),
        ("d", {"id": 3}, {"id": 3}, None),
        ("t", {}, None, None),
    ]
    assert await captured.run() == []
    positions = [one.position for one in captured.sent if one.value["op"] != "r"]
    assert positions == sorted(set(positions))
    json.dumps([one.value for one in captured.sent], allow_nan=False)


async def test_rows_read_and_rows_streamed_have_the_same_values(server: Server, database: Database) -> None:
    """Of types whose cast to text is another thing than their output, and of those that depend on a session."""
    await database.execute(
        "create type pair as (a int, b text); create domain percent as int check (value <= 100);"
        'create table "odd ""names" (id int primary key, padded char(5), yes bool, instant timestamptz, took interval, '
        "bytes bytea, single real, part pair, share percent, day date, "
        "doubled int generated always as (id * 2) stored);"
        """insert into "odd ""names" values (1, 'ab', true, '2026-11-30 10:00+02', '1 day 2 hours', '\\x00ff', 0.1,
        row(null, 'x'), 5, 'infinity')"""
    )
    captured = Captured(server.address, 'public.odd "names')
    (read,) = await captured.run()
    await database.execute('update "odd ""names" set id = id')
    (streamed,) = await captured.run()
    assert streamed.value["after"] == read.value["after"]
    assert read.value["after"] == {
        "id": 1,
        "padded": "ab   ",
        "yes": True,
        "instant": "2026-11-30T08:00:00Z",
        "took": "P1DT2H",
        "bytes": "AP8=",
        "single": 0.1,
        "part": "(,x)",
        "share": 5,
        "day": "infinity",
    }


async def test_what_a_transaction_in_flight_did_is_told_once(server: Server, database: Database) -> None:
    """One that commits after the slot and before the tables are read, one after that, and a message of the first."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    captured.tables = ("public.customers", "public.later")  # read at a moment when the stream has changes of it
    await database.execute("create table later (id int primary key); insert into later values (1)")
    await database.execute("alter publication sluice_crm add table later; insert into later values (2)")
    async with database.transaction():
        await database.execute("select pg_current_xact_id()")
        assert await captured.run() == []  # it may have changed the table before that was published
    flying = await server.connect()
    flight = flying.transaction()
    await flight.start()
    await flying.execute("insert into later values (3); select pg_logical_emit_message(true, 'outbox', '{}')")
    sent = 0

    async def land(records: Any) -> None:
        nonlocal sent
        await captured.send(records)
        if not sent:
            await flight.commit()
        sent += 1

    await captured.run(send=land)
    await flying.close()
    assert [(one.value["op"], dict(one.key)) for one in captured.sent] == [
        ("r", {"id": 1}),
        ("r", {"id": 2}),
        ("c", {"id": 3}),
        ("m", {"prefix": "outbox"}),
    ]


async def test_it_goes_on_in_the_middle_of_a_transaction(server: Server, database: Database) -> None:
    """When its time is up, and however often: each change once, under positions that grow."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("insert into customers select n from generate_series(1, 3000) n")
    ends = [0]  # of what each run sent
    while await captured.capturing(time_left=lambda: 60.0 if len(captured.sent) == ends[-1] else 0.0).run():
        ends.append(len(captured.sent))
    assert len(ends) > 5
    assert [one.key["id"] for one in captured.sent] == list(range(1, 3001))
    assert len({one.position.lsn for one in captured.sent}) == 1


async def test_reading_a_table_goes_on_behind_the_last_row(server: Server, database: Database) -> None:
    """With changes in between: whoever applies what is told in its order has the table."""
    await database.execute("create table customers (part text, id int, name text, primary key (part, id))")
    await database.execute("insert into customers select n % 2, n, 'a' from generate_series(1, 400) n")
    captured = Captured(server.address, "public.customers")
    left = iter([0.0, 0.0, 60.0, 0.0] + [60.0] * 100)
    while await captured.capturing(time_left=lambda: next(left)).run():
        await database.execute("update customers set name = name || 'b' where id % 100 = 7")
        await database.execute("delete from customers where id = (select min(id) from customers)")
        await database.execute("insert into customers select '0', max(id) + 1, 'new' from customers")
    rows = [tuple(row) for row in await database.fetch("select part, id, name from customers order by 1, 2")]
    assert applied(captured.sent) == rows
    assert len([one for one in captured.sent if one.value["op"] == "r"]) <= 410


def applied(records: list[ChangeRecord]) -> list[tuple[Any, ...]]:
    """The table that changes make."""
    table: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for one in records:
        key = tuple(one.key.values())
        if one.value["op"] == "d":
            table.pop(key, None)
        elif one.value["op"] == "t":
            table.clear()
        else:
            table[key] = tuple(one.value["after"].values())
    return sorted(table.values())


@asynccontextmanager
async def _still(session: Session) -> AsyncIterator[Session]:
    yield session


class Dead(BaseException):
    """The process ends here."""


async def test_a_process_that_dies_at_any_step_loses_and_doubles_nothing(server: Server, database: Database) -> None:
    """Before and after each thing that it does to the outside: what is sent again is the same, word for word."""
    await database.execute("create table customers (id int primary key, name text)")
    await database.execute("insert into customers select n, 'before' from generate_series(1, 150) n")
    captured = Captured(server.address, "public.customers")
    await database.execute("create publication sluice_crm for table customers")
    step, deadly = 0, 0

    def dangerous(call: Any) -> Any:
        async def called(*values: Any) -> Any:
            nonlocal step
            step += 1
            if step == deadly:
                raise Dead
            found = await call(*values)
            step += 1
            if step == deadly:
                raise Dead
            return found

        return called

    captured.send = dangerous(captured.send)  # type: ignore[method-assign]
    captured.row.write = dangerous(captured.row.write)  # type: ignore[method-assign]
    for deadly in range(1, 26):
        step = 0
        capturing = captured.capturing()
        await database.execute(
            f"insert into customers values ({1000 + deadly}, 'x'); delete from customers where id = {deadly}"
        )
        await database.execute(f"update customers set name = '{deadly}' where id = 100")
        with suppress(Dead):
            async with capturing.open() as session:
                for name in ("create_slot", "advance"):
                    setattr(session, name, dangerous(getattr(session, name)))
                capturing.open = lambda session=session: _still(session)  # type: ignore[misc]
                await capturing.run()
    deadly = 0
    await captured.run()
    words: dict[Any, str] = {}
    order: list[ChangeRecord] = []
    for one in captured.sent:
        identity = (one.position, one.table, json.dumps(one.value["after"] if one.value["op"] == "r" else None))
        whole = json.dumps([dict(one.key), dict(one.value)])
        if identity not in words:
            order.append(one)
        assert words.setdefault(identity, whole) == whole
    rows = [tuple(row) for row in await database.fetch("select id, name from customers order by 1")]
    assert applied(order) == rows
    streamed = [one.position for one in order if one.value["op"] != "r"]
    assert streamed == sorted(streamed)


async def test_idle_tables_let_the_server_forget_its_log(server: Server, database: Database) -> None:
    """The log of tables that aren't captured isn't kept for the slot, and nothing is written to the database."""
    await database.execute("create table customers (id int primary key); create table busy (id int)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("insert into busy select generate_series(1, 20000)")
    async with captured.capturing().open() as session:
        before = await session.slot("sluice_crm")
        assert await captured.run() == []
        after = await session.slot("sluice_crm")
    assert before is not None
    assert after is not None
    assert before.lag > 1_000_000
    assert after.lag < 10_000
    assert captured.progress.upto == after.confirmed


async def test_a_table_may_be_added_and_another_left_out(server: Server, database: Database) -> None:
    """The new one is read, then streamed; what is published for others isn't told."""
    await database.execute("create table a (id int primary key); create table b (id int primary key)")
    await database.execute("insert into b values (1)")
    captured = Captured(server.address, "public.a")
    await captured.run()
    captured.tables = ("public.b",)
    assert [one.value["op"] for one in await captured.run()] == ["r"]
    await database.execute("insert into a values (2); insert into b values (2)")
    assert [(one.table, one.value["op"]) for one in await captured.run()] == [("public.b", "c")]


async def test_a_publication_of_the_owner_s_says_which_columns_and_rows(server: Server, database: Database) -> None:
    """What is kept back from the stream isn't read before it either."""
    await database.execute("create table customers (id int primary key, name text, secret text)")
    await database.execute("insert into customers values (1, 'a', 'x'), (200, 'b', 'x')")
    await database.execute("create publication sluice_crm for table customers (id, name) where (id < 100)")
    captured = Captured(server.address, "public.customers")
    (read,) = await captured.run()
    await database.execute("insert into customers values (2, 'c', 'x'), (201, 'd', 'x')")
    (streamed,) = await captured.run()
    assert [one.value["after"] for one in (read, streamed)] == [{"id": 1, "name": "a"}, {"id": 2, "name": "c"}]


async def test_partitions_are_told_as_their_table(server: Server, database: Database) -> None:
    """Also a row that goes from one to another."""
    await database.execute(
        "create table days (day date, id int, primary key (day, id)) partition by range (day);"
        "create table days_a partition of days for values from ('2026-01-01') to ('2026-02-01');"
        "create table days_b partition of days for values from ('2026-02-01') to ('2026-03-01');"
        "insert into days values ('2026-01-05', 1)"
    )
    captured = Captured(server.address, "public.days")
    await captured.run()
    await database.execute("update days set day = '2026-02-05'")
    assert {one.table for one in await captured.run()} == {"public.days"}
    assert applied(captured.sent) == [("2026-02-05", 1)]


async def test_a_large_value_that_was_left_alone_is_named_so(server: Server, database: Database) -> None:
    """With the whole old row it is known; without, it isn't."""
    await database.execute(
        "create table a (id int primary key, large text, n int); alter table a alter large set storage external;"
        "create table b (like a including all); alter table b replica identity full;"
        "insert into a values (1, repeat('x', 5000), 1); insert into b values (1, repeat('x', 5000), 1)"
    )
    captured = Captured(server.address, "public.a", "public.b")
    await captured.run()
    await database.execute("update a set n = 2; update b set n = 2")
    first, second = await captured.run()
    assert first.value["after"]["large"] == UNAVAILABLE
    assert second.value["after"]["large"] == "x" * 5000


async def test_no_fetch_has_more_rows_than_memory_has_room_for(server: Server, database: Database) -> None:
    """Small rows come by many, but large ones may be behind them: so never by more than 200, of the log neither."""
    await database.execute(
        "create table customers (id int primary key, large text);"
        "insert into customers select n, '' from generate_series(1, 1000) n"
    )
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("update customers set large = 'x'")
    async with captured.capturing().open() as session:
        page = await session.page("sluice_crm", "public.customers", ["id"])
        async with session.snapshot():
            read = [len(portion) async for portion in session.rows(page, None)]
        logged = [len(portion) async for portion in session.peek("sluice_crm", "sluice_crm", 60)]
    assert (sum(read), max(read), max(logged)) == (1000, 200, 200)
    assert sum(logged) > 1000


UNFIT = {
    "no key": ("create table t (id int)", "it has no key"),
    "nothing": ("create table t (id int primary key); alter table t replica identity nothing", "is nothing"),
    "full, no key": ("create table t (id int); alter table t replica identity full", "it has no key"),
    "unlogged": ("create unlogged table t (id int primary key)", "not logged"),
    "view": ("create view t as select 1 as id", "it is no table"),
    "missing": ("select 1", "there is no such table"),
    "every table": (
        "create table t (id int primary key); create publication sluice_crm for all tables",
        "for all tables",
    ),
    "inserts alone": (
        "create table t (id int primary key); create publication sluice_crm for table t with (publish = 'insert')",
        "must publish insert, update",
    ),
    "other plug-in": (
        "create table t (id int primary key); select pg_create_logical_replication_slot('sluice_crm', 'test_decoding')",
        "not one of pgoutput",
    ),
}


@pytest.mark.parametrize(("made", "reason"), UNFIT.values(), ids=UNFIT)
async def test_what_would_break_an_application_is_refused(
    server: Server, database: Database, made: str, reason: str
) -> None:
    """Before anything is made: an update of a published table without a key fails where it is made."""
    for statement in made.split("; "):
        await database.execute(statement)
    with pytest.raises(UnfitSource, match=reason):
        await Captured(server.address, "public.t").run()


async def test_a_user_without_rights_is_told_the_statement(server: Server, database: Database) -> None:
    """The owner runs it, and the capture goes on."""
    await database.execute(
        "create table customers (id int primary key);"
        "do $$ begin create role reader login replication; exception when duplicate_object then null; end $$;"
        "grant usage on schema public to reader; grant select on customers to reader"
    )
    captured = Captured(replace(server.address, user="reader"), "public.customers")
    with pytest.raises(UnfitSource, match="create publication sluice_crm for table ") as refused:
        await captured.run()
    await database.execute(str(refused.value).partition("do this: ")[2])
    await captured.run()
    await database.execute("insert into customers values (1)")
    assert len(await captured.run()) == 1


async def test_what_somebody_did_to_slot_or_publication_is_named(server: Server, database: Database) -> None:
    """Dropped, made anew, moved: changes are missing, and the message says what to do. Nothing is sent meanwhile."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("alter publication sluice_crm rename to other; insert into customers values (1)")
    with pytest.raises(PublicationMissing, match="give it its name back"):
        await captured.run()
    await database.execute("alter publication other rename to sluice_crm")
    await database.execute("select pg_drop_replication_slot('sluice_crm')")
    with pytest.raises(SlotLost, match="Reset the capture"):
        await captured.run()
    await database.execute("insert into customers values (2)")
    await database.execute("select pg_create_logical_replication_slot('sluice_crm', 'pgoutput')")
    with pytest.raises(SlotMoved, match="Reset the capture"):
        await captured.run()
    assert captured.sent == []
    captured.row = MemoryRow()  # as the operator's command resets it
    assert [(one.value["op"], one.key["id"]) for one in await captured.run()] == [("r", 1), ("r", 2)]


async def test_a_slot_whose_log_is_gone_is_made_anew_after_a_reset(server: Server, database: Database) -> None:
    """A server that keeps little for slots removes what one needs."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("alter system set max_slot_wal_keep_size = '1MB'; ")
    await database.execute("select pg_reload_conf()")
    try:
        for _ in range(3):
            await database.execute("select pg_switch_wal(); ")
            await database.execute("create table filler as select generate_series(1, 1000) n; drop table filler")
        await database.execute("checkpoint")
        with pytest.raises(SlotLost, match="Reset the capture"):
            await captured.run()
        captured.row = MemoryRow()
        await database.execute("insert into customers values (1)")
        assert [one.value["op"] for one in await captured.run()] == ["r"]
    finally:
        await database.execute("alter system reset max_slot_wal_keep_size")
        await database.execute("select pg_reload_conf()")


async def test_of_two_at_once_one_goes_on(server: Server, database: Database) -> None:
    """An instance that was too slow for its lease stops at the first position that isn't its own any more."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("insert into customers select generate_series(1, 1200)")

    async def overtaken(records: Any) -> None:
        await captured.send(records)
        if len(captured.sent) == 500:
            await captured.run()

    assert await captured.capturing(send=overtaken).run() is True
    assert [one.key["id"] for one in captured.sent] == [*range(1, 501), *range(1, 1201)]
    assert await captured.run() == []


async def test_a_server_that_is_away_loses_nothing(server: Server, database: Database) -> None:
    """Away at the beginning of a run, and gone as by a crash in the middle of one."""
    await database.execute("create table customers (id int primary key)")
    captured = Captured(server.address, "public.customers")
    await captured.run()
    await database.execute("insert into customers select generate_series(1, 5000)")

    async def crashing(records: Any) -> None:
        await captured.send(records)
        if len(captured.sent) == 500:
            server.stop(signal.SIGQUIT)

    with pytest.raises(SourceUnavailable):
        await captured.capturing(send=crashing).run()
    with pytest.raises(SourceUnavailable):
        await captured.run()
    await server.start()
    await captured.run()
    assert [one.key["id"] for one in captured.sent] == list(range(1, 5001))


async def test_texts_come_in_their_database_s_encoding(server: Server, database: Database) -> None:
    """Whatever that is; one that says nothing about its characters is refused."""
    for encoding in ("latin1", "sql_ascii"):
        await database.execute(f"drop database if exists {encoding}")
        await database.execute(f"create database {encoding} encoding '{encoding}' template template0")
    other = await asyncpg.connect(host=str(server.folder), user="postgres", database="latin1")
    await other.execute("create table customers (id int primary key, name text)")
    captured = Captured(replace(server.address, database="latin1"), "public.customers", source="latin")
    await captured.run()
    await other.execute("insert into customers values (1, 'Grüße')")
    assert [one.value["after"]["name"] for one in await captured.run()] == ["Grüße"]
    await other.execute("select pg_drop_replication_slot('sluice_latin')")
    await other.close()
    with pytest.raises(UnfitSource, match="SQL_ASCII"):
        await Captured(replace(server.address, database="sql_ascii"), "public.customers").run()


async def test_a_server_without_tls_is_not_spoken_to(server: Server, database: Database) -> None:
    """Unless it is on this machine: another address of the loopback network stands for one that isn't."""
    async with over_tcp(server, "127.0.0.2") as port:
        far = ServerAddress.of(f"postgresql://postgres@127.0.0.2:{port}/postgres")
        with pytest.raises(SourceUnavailable, match="SSL"):
            await Captured(far, "public.customers").run()
        near = replace(far, host="127.0.0.1")
    assert (far.local, near.local) == (False, True)


async def test_the_password_is_asked_for(server: Server, database: Database) -> None:
    """When a session begins; a wrong one is named, and not repeated in the message."""
    rules = server.folder / "data" / "pg_hba.conf"
    former = rules.read_text()
    await database.execute("drop role if exists secretive; create role secretive superuser login password 'right'")
    rules.write_text("local all secretive scram-sha-256\n" + former)
    await database.execute("select pg_reload_conf()")
    address = replace(server.address, user="secretive")

    async def right() -> str:
        return "right"

    async def wrong() -> str:
        return "wrong-password"

    try:
        refused = await _refused(address, wrong)
        assert "password authentication failed" in str(refused)
        assert "wrong-password" not in str(refused)
        async with opened(address, right) as session:
            assert await session.flushed() > 0
    finally:
        rules.write_text(former)
        await database.execute("select pg_reload_conf()")


async def _refused(address: ServerAddress, password: Callable[[], Awaitable[str]]) -> UnfitSource:
    """How a session is refused, once the server has read its rules."""
    for _ in range(1000):
        try:
            async with opened(address, password):
                pass
        except UnfitSource as error:
            return error
    raise AssertionError
