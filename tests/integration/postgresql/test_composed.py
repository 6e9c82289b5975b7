"""Change capture in the composed app: a job whose changes are on the ordered lane, its slot's health, its position."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import asyncpg
import pytest

from functions.composition.capturing import capability
from ops.captures import positions, reset
from shared.changes import Change
from shared.health import Degraded
from shared.jobs import JobRun
from shared.messages import Contract, Integration, Lane, Registry
from shared.postgresql import Postgresql, SlotLost
from shared.work import Work
from tests.integration.postgresql.server import Server
from tests.unit.functions.conftest import ENVIRONMENT, Running

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RUN = JobRun(due=NOW, last_success=None, time_left=lambda: 240.0)


class Customer(Contract):
    id: int
    name: str | None = None


crm = Integration("crm")
database_of_crm = Postgresql("crm", tables=["public.customers"], follow=False)


@crm.changes("public.customers", key="id")
async def customer_changed(change: Change[Customer], work: Work) -> None: ...


@crm.changes("outbox", key="id")
async def outbox_told(change: Change[Customer], work: Work) -> None: ...


def running(server: Server, **settings: str) -> Running:
    """The app with this database."""
    urls = f"crm=postgresql://postgres@/postgres?host={server.folder}"
    registry = Registry([crm], beside=[database_of_crm])
    return Running(registry, {**ENVIRONMENT, "SLUICE_CAPTURE_URLS": urls, **settings}, now=lambda: NOW)


async def test_captured_changes_are_on_the_ordered_lane(server: Server, database: asyncpg.Connection) -> None:
    """Each as one message of its row, under an id that sending again gives again."""
    await database.execute("create table customers (id int primary key, name text)")
    await database.execute("insert into customers values (1, 'Ada')")
    app = running(server)
    (job,) = capability(app.composition).jobs
    assert (job.name, job.app) == ("capture.crm", "streams")
    await job.call(RUN)
    await database.execute("update customers set name = 'Grace'; update customers set id = 2; delete from customers")
    await database.execute("select pg_logical_emit_message(true, 'outbox', 'x')")
    await database.execute("select pg_logical_emit_message(true, 'an extension', 'x')")  # nobody handles those
    await job.call(RUN)
    by_key: dict[str, list[str]] = {"1": [], "2": []}  # keys go side by side
    for one in app.lanes.sent:
        assert one.headers.lane is Lane.ORDERED
        by_key[one.headers.key].append(json.loads(one.body)["data"]["operation"])
    assert by_key == {"1": ["r", "u", "d"], "2": ["c", "d"]}
    assert len({one.headers.message_id for one in app.lanes.sent}) == 5
    (parked,) = app.dead_letters.letters.values()
    assert "holds no JSON" in parked.reason
    await reset(app.composition, "crm")
    assert (await positions(app.composition, ["crm"]))[0]["advanced"] == "0/0"
    await app.composition.close()


async def test_health_looks_at_the_slot(server: Server, database: asyncpg.Connection) -> None:
    """Its lag in bytes; far behind is degraded, dropped is away."""
    await database.execute("create table customers (id int primary key, name text)")
    app = running(server, SLUICE_CAPTURE_LAG_BYTES=str(1 << 20))
    made = capability(app.composition)
    (job,) = made.jobs
    ask = made.probes["slot-crm"].ask  # type: ignore[union-attr]
    assert await ask() == {"slot": "not made yet"}
    await job.call(RUN)
    assert (await ask())["log"] == "reserved"  # type: ignore[index, call-overload]
    await database.execute("create table filler as select generate_series(1, 50000) n")
    with pytest.raises(Degraded, match="far behind"):
        await ask()
    await job.call(RUN)
    await ask()
    await database.execute("select pg_drop_replication_slot('sluice_crm')")
    with pytest.raises(SlotLost, match="reset the capture"):
        await ask()
    await app.composition.close()


def test_a_stage_without_the_database_does_nothing() -> None:
    """The job is there, and nobody is asked."""
    app = Running(Registry([crm], beside=[database_of_crm]), ENVIRONMENT, now=lambda: NOW)
    made = capability(app.composition)
    assert [job.name for job in made.jobs] == ["capture.crm"]
    assert made.probes == {}


WRONG = {
    "unhandled table": (Postgresql("crm", tables=["public.orders"]), "", "whose changes nobody handles"),
    "undeclared": (database_of_crm, "shop=postgresql://u@localhost/d", "nobody declares the database shop"),
    "no address": (database_of_crm, "crm=mysql://u@localhost/d", "SLUICE_CAPTURE_URLS"),
    "password": (database_of_crm, "crm=postgresql://u:secret@far.example/d", "keep the password in the vault"),
}


@pytest.mark.parametrize(("declared", "urls", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_captured_stops_the_start(declared: Postgresql, urls: str, reason: str) -> None:
    """With the reason, and never with a password."""
    with pytest.raises(ValueError, match=reason) as refused:
        Running(Registry([crm], beside=[declared]), {**ENVIRONMENT, "SLUICE_CAPTURE_URLS": urls})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("tables", [[], "public.a", ["a"], ["public.a", "public.a"]], ids=str)
def test_a_declaration_names_its_tables(tables: list[str]) -> None:
    """Each once, with its schema."""
    with pytest.raises(ValueError, match="name its tables"):
        Postgresql("crm", tables=tables)
