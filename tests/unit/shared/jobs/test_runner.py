"""Jobs run when they are due, by one instance at a time, whatever happens to the others and to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from shared.jobs import Job, JobRecord, JobRecords, JobRun, JobRunner, parse_schedule
from shared.jobs.job import WrongJob
from shared.jobs.records import Outcome
from shared.tables import Entity, MemoryTable, Operation
from tests.unit.virtual_time import START, VirtualTime

Call = Callable[[JobRun], Awaitable[bool | None]]
TICK = 5.0


class Breaking(MemoryTable):
    """A store that can be away, or lose an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.hangs = False
        self.answers_lost = 0
        self.calls = 0

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        self.calls += 1
        if self.away:
            raise ConnectionError("the store is away")
        if self.hangs:
            await asyncio.sleep(3_000)
        found = await super().submit(operations)
        if self.answers_lost:
            self.answers_lost -= 1
            raise ConnectionError("the answer got lost")
        return found

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        self.calls += 1
        if self.away:
            raise ConnectionError("the store is away")
        return await super().get(partition, row, select=select)


class World:
    """A store, and instances of the app."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.table = Breaking()
        self.records = JobRecords(self.table)
        self.runners: list[JobRunner] = []
        self.began: list[tuple[str, datetime, datetime]] = []
        """Name of the job, when it was due, when it began."""

    def job(self, name: str, schedule: str, call: Call | None = None, **options: object) -> Job:
        """A job that tells when it runs."""

        async def told(run: JobRun) -> bool | None:
            self.began.append((name, run.due, self.time.now()))
            return await call(run) if call is not None else None

        between = str(options.pop("between", ""))
        parsed = parse_schedule(schedule, between=between)
        return Job(name=name, app="streams", schedule=parsed, call=told, **options)  # type: ignore[arg-type]

    def runner(self, *jobs: Job, at_once: int = 8, ahead: float = 0) -> JobRunner:
        """An instance that has just started, with a clock that may be ahead."""

        def now() -> datetime:
            return self.time.now() + timedelta(seconds=ahead)

        made = JobRunner(jobs, self.records, now=now, clock=self.time.clock, at_once=at_once)
        self.runners.append(made)
        return made

    def ticks(self, *runners: JobRunner, seconds: float) -> None:
        """The platform's timer for a while: a tick every five seconds on each instance."""

        async def one(runner: JobRunner) -> None:
            end = self.time.clock() + seconds
            while self.time.clock() < end:
                began = self.time.clock()
                await runner.tick(TICK * 0.8)
                await asyncio.sleep(TICK - (self.time.clock() - began))

        async def all_of_them() -> None:
            await asyncio.gather(*(one(runner) for runner in runners))

        self.time.run(all_of_them())

    def record(self, name: str) -> JobRecord:
        """What is known of a job."""
        found = self.time.run(self.records.find(name))
        assert found is not None
        return found

    def runs(self, name: str) -> list[str]:
        """When a job was due that began."""
        return [f"{due:%H:%M:%S}" for found, due, _ in self.began if found == name]


@pytest.fixture
def world() -> Iterator[World]:
    """At two seconds past eight."""
    found = World()
    yield found
    for runner in found.runners:
        found.time.run(runner.close())
    found.time.close()


def test_a_job_runs_when_it_is_due_and_its_record_tells(world: World) -> None:
    """The first time it is seen it waits for its next due time."""

    async def takes_two_seconds(_: JobRun) -> None:
        await asyncio.sleep(2)

    world.ticks(world.runner(world.job("sweep", "30s", takes_two_seconds)), seconds=70)
    assert world.runs("sweep") == ["08:00:30", "08:01:00"]
    assert all(began - due <= timedelta(seconds=TICK) for _, due, began in world.began)
    record = world.record("sweep")
    assert (record.outcome, record.seconds, record.holder) == (Outcome.DONE, 2.0, "")
    assert f"{record.due:%H:%M:%S} {record.last_success:%H:%M:%S}" == "08:01:30 08:01:00"


def test_what_is_not_due_costs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An idle stack asks no store and writes no line."""
    runner = world.runner(world.job("nightly", "0 30 3 * * *"), world.job("hourly", "1h"))
    world.ticks(runner, seconds=10)
    calls = world.table.calls
    world.ticks(runner, seconds=3_000)
    assert world.table.calls == calls
    assert caplog.records == []


def test_two_instances_share_the_jobs(world: World) -> None:
    """Every due time is run by one of them, though their clocks differ."""
    jobs = [world.job(f"job-{number}", "10s") for number in range(4)]
    world.ticks(world.runner(*jobs), world.runner(*jobs, ahead=3), world.runner(*jobs, ahead=-20), seconds=300)
    for number in range(4):
        runs = world.runs(f"job-{number}")
        assert len(runs) == len(set(runs)) >= 27


def test_a_job_that_hangs_delays_nobody_for_more_than_a_tick(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It ends with its own time, and comes again."""

    async def hangs(_: JobRun) -> None:
        await asyncio.sleep(10_000)

    world.ticks(world.runner(world.job("hangs", "1m", hangs, seconds=100), world.job("quick", "5s")), seconds=240)
    quick = [began - due for name, due, began in world.began if name == "quick"]
    assert len(quick) >= 46
    assert max(quick) <= timedelta(seconds=TICK)
    assert world.runs("hangs") == ["08:01:00", "08:02:00"]  # the second stands for what was missed meanwhile
    assert [record.message for record in caplog.records] == ["job timed out"]


def test_no_more_run_side_by_side_than_may(world: World) -> None:
    """Who has waited longest comes first."""
    at_once = 0
    most = 0

    async def counted(_: JobRun) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(1)
        at_once -= 1

    jobs = [world.job(f"job-{number}", "1m", counted) for number in range(10)]
    world.ticks(world.runner(*jobs, at_once=3), seconds=90)
    assert most == 3
    assert len(world.began) == 10


def test_a_process_that_dies_in_a_job_is_followed_by_another(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Once its lease has run out; what it was to do is done."""
    done: list[datetime] = []

    async def dies_the_first_time(run: JobRun) -> None:
        if len(world.runs("sweep")) == 1:
            await asyncio.sleep(10_000)
        done.append(run.due)

    job = world.job("sweep", "1m", dies_the_first_time)
    first = world.runner(job)
    world.ticks(first, seconds=61)
    assert world.record("sweep").holder
    world.time.run(first.close())
    world.ticks(world.runner(job), seconds=70)
    assert f"{done[0]:%H:%M:%S}" == "08:01:00"
    assert world.began[1][2] - world.began[0][2] <= timedelta(seconds=60 + TICK)
    assert [record.message for record in caplog.records] == ["job taken over"]


def test_a_lease_that_is_lost_stops_the_job(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Another has it now: this one writes nothing over it."""
    stopped: list[datetime] = []

    async def long(_: JobRun) -> None:
        try:
            await asyncio.sleep(10_000)
        finally:
            stopped.append(world.time.now())

    runner = world.runner(world.job("sweep", "1m", long))
    world.ticks(runner, seconds=61)
    taken = replace(world.record("sweep"), holder="another", until=world.time.now() + timedelta(minutes=1))
    world.time.run(world.records.write(taken))
    world.ticks(runner, seconds=40)
    assert len(stopped) == 1
    assert stopped[0] - world.began[0][2] <= timedelta(seconds=20 + TICK)
    assert world.record("sweep").holder == "another"
    assert "job lost its lease" in [record.message for record in caplog.records]


def run_beside_a_bad_store(world: World, trouble: str, *, afterwards: int) -> timedelta:
    """Begin a long job and have the store in trouble for 90 s of it; how long the job ran."""
    ended: list[datetime] = []

    async def long(_: JobRun) -> None:
        try:
            await asyncio.sleep(200)
        finally:
            ended.append(world.time.now())

    runner = world.runner(world.job("sweep", "5m", long))
    world.ticks(runner, seconds=302)
    began = world.began[0][2]
    setattr(world.table, trouble, True)
    world.ticks(runner, seconds=90)
    lasted = ended[0] - began
    setattr(world.table, trouble, False)
    world.ticks(runner, seconds=afterwards)
    assert world.runs("sweep")[:2] == ["08:05:00", "08:05:00"]
    return lasted


def test_a_store_that_is_away_stops_what_could_no_longer_prove_its_lease(world: World) -> None:
    """Nobody could tell whether another has begun it; when the store is back it goes on."""
    assert run_beside_a_bad_store(world, "away", afterwards=205) <= timedelta(seconds=85)
    assert world.record("sweep").outcome is Outcome.DONE


def test_a_store_that_does_not_answer_stops_it_as_well(world: World) -> None:
    """A request may take many minutes, with its retries; the lease runs out meanwhile."""
    assert run_beside_a_bad_store(world, "hangs", afterwards=240) <= timedelta(seconds=60)
    assert f"{world.record('sweep').last_success:%H:%M}" == "08:05"


def test_an_answer_that_got_lost_is_no_lost_lease(world: World) -> None:
    """The row says who wrote it."""

    async def long(_: JobRun) -> None:
        await asyncio.sleep(70)

    runner = world.runner(world.job("sweep", "5m", long))
    world.ticks(runner, seconds=302)
    world.table.answers_lost = 1
    world.ticks(runner, seconds=80)
    assert world.runs("sweep") == ["08:05:00"]
    assert world.record("sweep").outcome is Outcome.DONE


def test_a_job_that_fails_says_so_and_comes_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The kind of error is kept, its text is only logged."""

    async def fails(_: JobRun) -> None:
        raise LookupError("the partner knows nobody called Ada")

    world.ticks(world.runner(world.job("poll", "1m", fails)), seconds=130)
    record = world.record("poll")
    assert world.runs("poll") == ["08:01:00", "08:02:00"]
    assert (record.outcome, record.reason, record.last_success) == (Outcome.FAILED, "LookupError", None)
    assert [record.message for record in caplog.records] == ["job failed"] * 2


def test_a_job_with_more_to_do_goes_on_with_the_next_ticks_for_the_same_due_time(world: World) -> None:
    """However many runs it takes."""
    left = [3]

    async def some(run: JobRun) -> bool:
        assert run.time_left() == pytest.approx(240)
        left[0] -= 1
        return left[0] > 0

    world.ticks(world.runner(world.job("sweep", "1m", some)), seconds=75)
    assert world.runs("sweep") == ["08:01:00"] * 3
    moments = [began for _, _, began in world.began]
    assert all(later - earlier >= timedelta(seconds=TICK) for earlier, later in pairwise(moments))
    record = world.record("sweep")
    assert (record.outcome, record.last_success, f"{record.due:%H:%M}") == (Outcome.DONE, record.run_due, "08:02")


@pytest.mark.parametrize(("catch_up", "runs"), [(True, ["08:01:00", "08:10:00"]), (False, ["08:10:00"])])
def test_what_was_missed_is_caught_up_with_once_or_skipped(world: World, catch_up: bool, runs: list[str]) -> None:
    """As the job says."""
    job = world.job("sweep", "1m", catch_up=catch_up)
    world.ticks(world.runner(job), seconds=5)
    world.time.run(asyncio.sleep(540))
    world.ticks(world.runner(job), seconds=60)
    assert world.runs("sweep") == runs


def test_what_was_missed_waits_for_its_window(world: World) -> None:
    """Nothing of the night runs in the middle of the day."""
    job = world.job("compact", "1h", between="20:00-23:00")
    world.ticks(world.runner(job), seconds=5)
    world.time.run(asyncio.sleep(24 * 3_600))
    world.ticks(world.runner(job), seconds=13 * 3_600)
    assert [f"{began:%d %H:%M}" for _, _, began in world.began] == ["06 20:00", "06 21:00"]


def test_another_schedule_counts_at_once(world: World) -> None:
    """What was due by the old one isn't waited for."""
    world.ticks(world.runner(world.job("sweep", "1d")), seconds=5)
    world.ticks(world.runner(world.job("sweep", "1m")), seconds=65)
    assert world.runs("sweep") == ["08:01:00"]


def test_a_clock_that_was_wrong_does_not_stop_a_job_for_long(world: World) -> None:
    """Neither one that was a day ahead when it wrote, nor one that goes back."""
    job = world.job("sweep", "1m")
    world.ticks(world.runner(job, ahead=86_400), seconds=120)
    before = len(world.began)
    world.ticks(world.runner(job), seconds=180)
    assert len(world.began) - before >= 2


def test_a_lease_of_a_clock_that_was_wrong_ends_with_its_process(world: World) -> None:
    """It was taken until tomorrow, and whoever took it died."""

    async def dies_the_first_time(_: JobRun) -> None:
        if len(world.began) == 1:
            await asyncio.sleep(10_000)

    job = world.job("sweep", "1m", dies_the_first_time)
    world.ticks(world.runner(job), seconds=5)
    wrong = world.runner(job, ahead=86_400)
    world.ticks(wrong, seconds=61)
    assert world.record("sweep").holder
    world.time.run(wrong.close())
    world.ticks(world.runner(job), seconds=180)
    assert len(world.began) >= 3


def test_wrong_jobs_are_refused() -> None:
    """When they are declared."""

    async def call(_: JobRun) -> None: ...

    good = Job(name="orders.missed-scans", app="bulk", schedule=parse_schedule("5m"), call=call)
    for change in ({"name": "Sweep"}, {"name": "a.b.c"}, {"seconds": 0}, {"seconds": 241}):
        with pytest.raises(WrongJob):
            replace(good, **change)
    assert START.tzinfo is not None
