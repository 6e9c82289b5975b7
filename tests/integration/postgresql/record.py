"""Records a real server, and the Debezium Engine beside it: `python -m tests.integration.postgresql.record CACHE`."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from shared.postgresql import opened
from shared.postgresql.pgoutput import decode
from tests.integration.postgresql.day import BEFORE, DAY, TABLES, told_last
from tests.integration.postgresql.debezium_engine import class_path, started
from tests.integration.postgresql.server import Server, over_tcp, running

TARGET = Path(__file__).parents[2] / "unit" / "shared" / "postgresql"
MESSAGES = """
create type mood as enum ('sad', 'happy');
create table customers (id int primary key, name text, credit numeric, feels mood, large text);
create table notes (id uuid primary key, body jsonb, at timestamptz, days date[]);
alter table notes replica identity full;
alter table customers alter large set storage external;
create publication recorded for table customers, notes;
select pg_create_logical_replication_slot('recorded', 'pgoutput');
insert into customers values (1, 'Ada', 1.10, 'happy', repeat('x', 3000)), (2, null, 'NaN', null, null);
update customers set name = 'Grüße 🎈' where id = 1;
begin; update customers set id = 3 where id = 2; delete from customers where id = 3;
select pg_logical_emit_message(true, 'outbox', '{"id": 1}'); commit;
insert into notes values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '2026-11-30 10:00+02', '{2026-11-30}');
update notes set body = null;
delete from notes;
select pg_logical_emit_message(false, 'heartbeat', '');
alter table customers add column since date;
insert into customers values (4, '', -0.001, 'sad', '', '2026-11-30');
truncate customers, notes restart identity cascade;
select pg_replication_origin_create('elsewhere');
select pg_replication_origin_session_setup('elsewhere');
insert into customers values (5);
"""


WITH_SCHEMAS = {
    "key.converter.schemas.enable": "true",
    "value.converter.schemas.enable": "true",
    "decimal.handling.mode": "precise",
    "time.precision.mode": "adaptive",
    "interval.handling.mode": "numeric",
    "binary.handling.mode": "bytes",
    "tombstones.on.delete": "true",
}
"""As the connector is by default."""


async def messages() -> None:
    """Write what a slot has of each kind of message."""
    with running() as server:
        await server.start()
        connection = await server.connect()
        for statement in filter(str.strip, MESSAGES.replace("begin; ", "begin;").split(";\n")):
            await connection.execute(statement)
        found = await peeked(server)
        await connection.close()
        version = server.version()
    lines = [{"lsn": lsn, "data": data.hex(), "says": repr(decode(data))} for lsn, data in found]
    write("recorded", {"server": version, "messages": lines})


async def day(cache: Path) -> None:
    """Write a day: what the slot has of it, and what Debezium tells, in few words and in its own."""
    with running() as server, tempfile.TemporaryDirectory() as folder:
        await server.start()
        connection = await server.connect()
        await connection.execute(BEFORE)
        await connection.execute(f"create publication recorded for table {', '.join(TABLES)}")
        async with over_tcp(server) as port, AsyncExitStack() as stack:
            engines = []
            for name, options in (("few", {}), ("own", WITH_SCHEMAS)):
                own = Path(folder) / name
                own.mkdir()
                wanted = {
                    "table.include.list": ",".join(TABLES),
                    "slot.name": name,
                    "publication.name": name,
                    "snapshot.mode": "no_data",
                    **options,
                }
                engines.append(await stack.enter_async_context(started(class_path(cache), own, port, wanted)))
            active = "select count(*) from pg_replication_slots where active"
            while await connection.fetchval(active) < len(engines):  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.1)
            await connection.execute("select pg_create_logical_replication_slot('recorded', 'pgoutput')")
            for statement in DAY:
                await connection.execute(statement)
            few = await engines[0].until(lambda found: bool(found) and told_last(found[-1]))
            await engines[1].until(lambda found: len(found) >= len(few))
            own_words = engines[1].lines()
        found = await peeked(server)
        await connection.close()
        version = server.version()
    first: dict[str, object] = {}
    for one in own_words:  # of each kind the first one
        payload = (one["value"] or {}).get("payload") or {}
        first.setdefault(one["destination"] + str(payload.get("op") or payload.get("status")), one)
    write(
        "day",
        {
            "server": version,
            "messages": [[lsn, data.hex()] for lsn, data in found],
            "debezium": few,
            "debeziumByDefault": list(first.values()),
        },
    )


async def peeked(server: Server) -> list[tuple[int, bytes]]:
    """What the slot has."""
    async with opened(server.address, partial(asyncio.sleep, 0)) as session:
        return [pair async for portion in session.peek("recorded", "recorded", 60.0) for pair in portion]


def write(name: str, document: object) -> None:
    """Write a file of the unit tests."""
    (TARGET / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    asyncio.run(messages())
    asyncio.run(day(Path(sys.argv[1])))
