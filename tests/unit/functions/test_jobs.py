"""Scheduled work in the composed app: what integrations schedule, which function runs it, and how often it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from functions.composition import CAPABILITIES, capabilities_of
from functions.composition.encryption import rewrapping
from functions.composition.jobs import job_records
from functions.composition.pausing import pause_book, pause_watch
from functions.composition.processing import parking_drain, processor
from functions.composition.read_models import rebuilder
from functions.composition.retention import claim_sweeper, value_sweeper
from functions.composition.sending import outbox
from functions.composition.state import inbox_sweeper
from functions.jobs import seconds_between_ticks
from functions.triggers import AppName, TimerTrigger
from shared.jobs import Job, JobRecords, JobRun, ScheduledRun, WrongSchedule, parse_schedule
from shared.jobs.records import Outcome
from shared.messages import Contract, Integration, Registry
from shared.pausing import Kind
from shared.tables import MemoryTable
from shared.work import Work

from .conftest import ENVIRONMENT, Running
from .test_api_reading import delivered

START = datetime(2026, 1, 5, 8, 0, 2, tzinfo=UTC)
KEYS = {"SLUICE_DATA_KEY": "secret:data-key", "KeyVault__vaultUri": "https://vault.example"}


class Parcel(Contract):
    """What is looked for."""

    parcel_id: str


class World:
    """An app with an integration that schedules, on a clock to move."""

    def __init__(self) -> None:
        self.now = START
        self.handled: list[str] = []
        self.runs: list[ScheduledRun] = []
        self.failing = False
        scans = Integration("scans")

        @scans.handles("parcel.missed", key="parcelId")
        async def missed(parcel: Parcel, work: Work) -> None:
            self.handled.append(parcel.parcel_id)

        @scans.every("5m", name="missed-scans")
        async def look(run: ScheduledRun) -> None:
            self.runs.append(run)
            for number in range(2):
                await run.send("parcel.missed", Parcel(parcel_id=f"parcel-{number}"))
            if self.failing:
                raise ConnectionError("in the middle")

        self.integration = scans
        self.table = MemoryTable()
        self.app = self.started()

    def started(self) -> Running:
        """An instance of the app."""
        records = JobRecords(self.table)
        quiet = {"SLUICE_OUTBOX_SWEEP_SCHEDULE": "1d", "SLUICE_PARKING_SCHEDULE": "1d"}
        return Running(Registry([self.integration]), ENVIRONMENT | quiet, {job_records: records}, now=lambda: self.now)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        made = capabilities_of(self.app.composition, CAPABILITIES)
        return {one.name: one.call for capability in made for one in capability.functions}

    async def handle(self) -> None:
        """Process what was sent."""
        for sent in self.app.lanes.sent:
            await self.app.composition.get(processor).process(sent.headers.lane, [delivered(sent)])
        self.app.lanes.sent.clear()


@pytest.fixture
def world() -> World:
    """At two seconds past eight."""
    return World()


async def test_what_an_integration_schedules_runs_and_its_commands_are_handled(world: World) -> None:
    """With no binding, no setting and no line of infrastructure of its own."""
    jobs = world.functions()["jobs_ordered"]
    await jobs(None)
    assert world.runs == []
    world.now += timedelta(minutes=5)
    await jobs(None)
    assert [f"{run.due:%H:%M}" for run in world.runs] == ["08:05"]
    await world.handle()
    assert world.handled == ["parcel-0", "parcel-1"]


async def test_commands_of_a_run_that_is_begun_again_take_effect_once(world: World) -> None:
    """They have the ids of the first time."""
    jobs = world.functions()["jobs_ordered"]
    await jobs(None)
    world.now += timedelta(minutes=5)
    world.failing = True
    await jobs(None)
    await world.handle()
    record = await JobRecords(world.table).find("scans.missed-scans")
    assert record is not None
    assert record.outcome is Outcome.FAILED
    again = world.runs[0]
    repeated = ScheduledRun(name=again.name, due=again.due, last_success=None, time_left=lambda: 1.0, _send=again._send)
    await repeated.send("parcel.missed", Parcel(parcel_id="parcel-0"))
    await world.handle()
    assert world.handled == ["parcel-0", "parcel-1"]
    assert len(world.app.dead_letters.letters) == 0


async def test_a_paused_integration_schedules_nothing_and_misses_nothing(world: World) -> None:
    """What came due is done after the pause, with the due time that it had."""
    jobs, book = world.functions()["jobs_ordered"], world.app.composition.get(pause_book)
    await jobs(None)
    await book.pause(Kind.INTEGRATION, "scans", by="ada", reason="an incident")
    for _ in range(3):
        world.now += timedelta(minutes=5)
        await jobs(None)
    assert world.runs == []
    await book.resume(Kind.INTEGRATION, "scans", by="ada")
    world.app.composition.get(pause_watch)._until = float("-inf")
    world.now += timedelta(minutes=1)
    await jobs(None)
    assert [f"{run.due:%H:%M}" for run in world.runs] == ["08:05"]


def test_a_wrong_schedule_is_refused_where_it_is_declared() -> None:
    """As are names, and functions that can't wait."""
    scans = Integration("scans")
    with pytest.raises(WrongSchedule, match=r"^scans\.look: .*every now and then"):
        scans.every("every now and then", name="look")
    with pytest.raises(ValueError, match="Look"):
        scans.every("5m", name="Look")
    with pytest.raises(TypeError, match="async def"):
        scans.every("5m", name="look")(lambda run: None)


@pytest.mark.parametrize(
    ("schedules", "seconds"),
    [
        ([], 60),
        (["1h"], 60),
        (["*/5 * * * * *", "1h"], 5),
        (["7s"], 6),
        (["45s"], 30),
        (["1s"], 1),
        (["0 */2 * * * *"], 60),
    ],
)
def test_the_clock_ticks_as_often_as_the_most_frequent_job_needs(schedules: list[str], seconds: int) -> None:
    """And not oftener: every tick wakes an instance."""

    async def call(_: JobRun) -> None: ...

    jobs = [
        Job(name=f"job-{number}", app="bulk", schedule=parse_schedule(text), call=call)
        for number, text in enumerate(schedules)
    ]
    assert seconds_between_ticks(jobs) == seconds


async def test_sweeps_drain_and_pass_are_done_by_one_instance_at_a_time(world: World) -> None:
    """The other one does nothing meanwhile, and the next one after it: what they do needs no lease of its own."""
    begun: list[str] = []
    all_begun, may_end = asyncio.Event(), asyncio.Event()

    def instance(name: str) -> Callable[[], Awaitable[object]]:
        async def work() -> SimpleNamespace:
            begun.append(name)
            if len(begun) == 6:
                all_begun.set()
            await may_end.wait()
            return SimpleNamespace(complete=True)

        async def nothing_to_rebuild(_: object) -> bool:
            return False

        parts: dict[Any, Any] = dict.fromkeys(
            (outbox, inbox_sweeper, rewrapping, parking_drain, claim_sweeper, value_sweeper),
            SimpleNamespace(sweep=work, run=work, drain=work),
        )
        parts[rebuilder] = SimpleNamespace(run_all=nothing_to_rebuild)
        app = Running(
            Registry([]), ENVIRONMENT | KEYS, {job_records: JobRecords(world.table), **parts}, lambda: world.now
        )
        made = capabilities_of(app.composition, CAPABILITIES)
        functions = {one.name: one.call for capability in made for one in capability.functions}
        return lambda: asyncio.gather(functions["jobs_ordered"](None), functions["jobs_streams"](None))

    one, two = instance("one"), instance("two")
    await one()
    world.now += timedelta(days=1)
    running = asyncio.ensure_future(one())
    await all_begun.wait()
    await two()
    assert begun == ["one"] * 6
    may_end.set()
    await running
    world.now += timedelta(days=1)
    await two()
    assert begun == ["one"] * 6 + ["two"] * 6


def test_each_app_with_jobs_has_one_function_for_them(world: World) -> None:
    """And no other function has a timer."""
    made = capabilities_of(world.app.composition, CAPABILITIES)
    timers = {
        one.name: one.app
        for capability in made
        for one in capability.functions
        if isinstance(one.trigger, TimerTrigger)
    }
    assert timers == {"jobs_ordered": AppName.ORDERED, "jobs_streams": AppName.STREAMS}
    assert {str(job.app) for capability in made for job in capability.jobs} == {"ordered", "streams"}
