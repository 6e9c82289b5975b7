"""Instances with clocks of their own start and die at any moment: each due time is done once, by one at a time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from shared.jobs import Job, JobRecords, JobRun, JobRunner, parse_schedule
from shared.tables import MemoryTable
from tests.unit.virtual_time import VirtualTime

TICK = 5.0
LEASE = 60.0
JOBS = {"quick": ("10s", 0.0), "slow": ("1m", 25.0), "slower-than-its-schedule": ("20s", 30.0)}
"""Schedule, and how many seconds a run takes."""


class Instances(RuleBasedStateMachine):
    """What the platform does to the app."""

    @initialize()
    def begin(self) -> None:
        """No instance yet."""
        self.time = VirtualTime()
        self.records = JobRecords(MemoryTable())
        self.instances: list[JobRunner] = []
        self.running: dict[str, int] = dict.fromkeys(JOBS, 0)
        self.done: list[tuple[str, datetime]] = []
        self.wrong: list[str] = []

    def job(self, name: str) -> Job:
        """A job that nobody may run twice at a time."""
        schedule, seconds = JOBS[name]

        async def call(run: JobRun) -> None:
            if self.running[name]:
                self.wrong.append(f"{name} runs twice at a time")
            self.running[name] += 1
            try:
                await asyncio.sleep(seconds)
                if (name, run.due) in self.done:
                    self.wrong.append(f"{name} of {run.due} is done twice")
                self.done.append((name, run.due))
            finally:
                self.running[name] -= 1

        return Job(name=name, app="streams", schedule=parse_schedule(schedule), call=call)

    @precondition(lambda self: len(self.instances) < 3)
    @rule(ahead=st.sampled_from([-15, -4, 0, 0, 7, 15]))
    def start(self, ahead: float) -> None:
        """One more, with a clock that is a little wrong."""

        def now() -> datetime:
            return self.time.now() + timedelta(seconds=ahead)

        jobs = [self.job(name) for name in JOBS]
        self.instances.append(
            JobRunner(jobs, self.records, now=now, clock=self.time.clock, lease_seconds=LEASE, at_once=2)
        )

    @precondition(lambda self: self.instances)
    @rule(which=st.integers(0, 2))
    def die(self, which: int) -> None:
        """In the middle of whatever it does, but for the moment between work and record: it would be done again."""
        self.time.run(asyncio.sleep(0.001))
        self.time.run(self.instances.pop(which % len(self.instances)).close())

    @rule(seconds=st.integers(1, 150))
    def pass_time(self, seconds: int) -> None:
        """Every instance ticks; one tick may end within a run."""

        async def ticking(runner: JobRunner, end: float) -> None:
            while self.time.clock() < end:
                began = self.time.clock()
                await runner.tick(min(TICK * 0.8, end - began))
                await asyncio.sleep(min(TICK, max(0.0, end - began)) - (self.time.clock() - began))

        async def all_of_them() -> None:
            end = self.time.clock() + seconds
            await asyncio.gather(asyncio.sleep(seconds), *(ticking(runner, end) for runner in self.instances))

        self.time.run(all_of_them())
        assert not self.wrong, self.wrong

    def teardown(self) -> None:
        """Once one instance is left alone, no job is behind by more than a lease and two of its periods."""
        if not hasattr(self, "time"):
            return
        try:
            while self.instances:
                self.die(0)
            self.start(0)
            self.pass_time(240)
            self.die(0)
            for name, (schedule, seconds) in JOBS.items():
                record = self.time.run(self.records.find(name))
                assert record is not None
                assert record.last_success is not None, name
                period = parse_schedule(schedule).next_after(datetime(1970, 1, 1, tzinfo=UTC)).timestamp()
                behind = (self.time.now() - record.last_success).total_seconds()
                assert behind <= 2 * period + 2 * seconds + 2 * TICK, (name, behind)
        finally:
            self.time.close()


TestInstances = Instances.TestCase
TestInstances.settings = settings(max_examples=25, stateful_step_count=10, deadline=None)
