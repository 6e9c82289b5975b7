"""Runs jobs when they are due: side by side within a bound, each by one instance at a time.

A tick begins what is due and waits for it, but no longer than until the next tick: a run that takes longer goes on in
the process, and a job that hangs delays the others by one tick at most. A run is made known before it begins and when
it has ended; where its process dies in between, the lease runs out and another begins it again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from opentelemetry.trace import StatusCode

from shared.tables import Conflict
from shared.telemetry import Name, log_event, span

from .job import Job, JobRun
from .records import JobRecord, JobRecords, Outcome

__all__ = ["JobRunner"]

LEASE_SECONDS = 60.0
RENEWALS = 3
"""A lease is renewed so many times while it holds."""
AT_ONCE = 8
EARLY = timedelta(seconds=0.5)
"""A timer may fire a little before its time."""
AGAIN = timedelta(seconds=5)
LATE = timedelta(seconds=60)
"""What is later counts as missed; and clocks of instances differ by less."""


class JobRunner:
    """The jobs of one app in one process.

    Parameters
    ----------
    now, clock:
        The time of day, and seconds that only ever grow.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        records: JobRecords,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._jobs = tuple(jobs)
        self._records = records
        self._now = now
        self._clock = clock
        self._at_once = at_once
        self._lease = timedelta(seconds=lease_seconds)
        self._holder = uuid4().hex
        self._looking: dict[str, datetime] = {}
        """When there is a reason to look at a job's record again."""
        self._running: dict[str, asyncio.Task[None]] = {}

    async def tick(self, seconds: float) -> None:
        """Begin what is due, each job once; return when it has ended, or after so many seconds."""
        deadline = self._clock() + seconds
        begun: set[str] = set()
        while True:
            self._begin(begun)
            left = deadline - self._clock()
            if not self._running or left <= 0:
                return
            await asyncio.wait(self._running.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Stop what runs; it is begun again when its lease has run out."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _waiting(self) -> list[Job]:
        """Jobs to look at that this process doesn't run, what has waited longest first."""
        now = self._now()
        found = [
            job
            for job in self._jobs
            if job.name not in self._running
            and (
                (at := self._looking.get(job.name)) is None
                or at <= now + EARLY
                or at > job.schedule.next_after(now) + LATE  # the clock went back
            )
        ]
        return sorted(found, key=lambda job: self._looking.get(job.name, now))

    def _begin(self, begun: set[str]) -> None:
        waiting = [job for job in self._waiting() if job.name not in begun]
        for job in waiting[: self._at_once - len(self._running)]:
            begun.add(job.name)
            task = asyncio.create_task(self._attempt(job), name=f"job {job.name}")
            self._running[job.name] = task
            task.add_done_callback(partial(self._forget, job.name))

    def _forget(self, name: str, _: "asyncio.Task[None]") -> None:
        self._running.pop(name, None)

    async def _attempt(self, job: Job) -> None:
        try:
            self._looking[job.name] = await self._look(job)
        except Conflict:  # somebody else writes the record at this moment: what they wrote is looked at next
            self._looking[job.name] = self._now() + 2 * EARLY
        except Exception as error:  # the store is away
            self._looking[job.name] = self._now() + AGAIN
            log_event("job not looked at", level=30, job=job.name, error=error)

    async def _look(self, job: Job) -> datetime:
        """Read the job's record, run the job if it is due; returns when to look again."""
        record = await self._records.find(job.name)
        now = self._now()
        following = job.schedule.next_after(now)
        if record is None:
            return (await self._records.write(JobRecord(name=job.name, due=following))).due
        if record.leased_at(now) and record.until is not None and record.until <= now + self._lease + LATE:
            return min(following, record.until)  # a lease that holds longer is that of a clock that was wrong
        if record.due > now + EARLY:
            if record.due == following or not self._is_off(record, following, now):
                return record.due
            return (await self._records.write(replace(record, due=following))).due  # another schedule, or clock
        if (allowed := job.schedule.allowed_from(now)) > now:
            return allowed
        missed = now - record.due > LATE and not record.holder and record.outcome is not Outcome.MORE
        if missed and not job.catch_up:
            skipped = replace(record, due=following, holder="", until=None, outcome=Outcome.SKIPPED, run_due=record.due)
            return (await self._records.write(skipped)).due
        if record.holder:
            log_event("job taken over", level=30, job=job.name, startedAt=str(record.started_at))
        return await self._run(job, record)

    def _is_off(self, record: JobRecord, following: datetime, now: datetime) -> bool:
        """Whether a due time that isn't the schedule's next one is wrong, and not just that of a faster clock."""
        if record.run_due is None or following > record.run_due:
            return True
        return record.run_due > now + LATE

    async def _run(self, job: Job, record: JobRecord) -> datetime:
        started = self._now()
        claimed = replace(
            record,
            holder=self._holder,
            until=started + self._lease,
            run_due=record.due,
            started_at=started,
            ended_at=None,
            outcome=None,
            reason="",
        )
        lease = _Lease(self._records, await self._records.write(claimed), self._lease, self._now)
        outcome, reason = await self._outcome(job, record, lease)
        if lease.lost:
            log_event("job lost its lease", level=30, job=job.name)
            return self._now() + 2 * EARLY
        ended = replace(
            claimed,
            holder="",
            until=None,
            due=record.due if outcome is Outcome.MORE else job.schedule.next_after(max(started, record.due)),
            ended_at=self._now(),
            outcome=outcome,
            reason=reason,
            last_success=record.due if outcome is Outcome.DONE else record.last_success,
        )
        await lease.write(ended)
        return ended.due

    async def _outcome(self, job: Job, record: JobRecord, lease: "_Lease") -> tuple[Outcome, str]:
        """Run the job within its time and its lease."""
        deadline = self._clock() + job.seconds
        run = JobRun(
            due=record.due, last_success=record.last_success, time_left=lambda: max(0.0, deadline - self._clock())
        )
        work = asyncio.create_task(_awaited(job, run))
        renewing = asyncio.create_task(lease.keep())
        try:
            await asyncio.wait({work, renewing}, timeout=job.seconds, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not work.done() and not renewing.done()
            work.cancel()
            await lease.stop(renewing)
            await asyncio.wait({work})  # one that doesn't stop keeps its place; another instance may begin it
        finally:
            work.cancel()
            renewing.cancel()
        if timed_out:
            log_event("job timed out", level=40, job=job.name, seconds=job.seconds)
            return Outcome.TIMED_OUT, ""
        try:
            return (Outcome.MORE if work.result() else Outcome.DONE), ""
        except (Exception, asyncio.CancelledError) as error:
            if not lease.lost:
                log_event("job failed", level=40, job=job.name, error=error)
            return Outcome.FAILED, type(error).__name__


async def _awaited(job: Job, run: JobRun) -> bool:
    with span(f"run {job.name}", plain={Name.JOB_DUE: run.due.isoformat()}) as current:
        try:
            return bool(await job.call(run))
        except asyncio.CancelledError:  # its time is over, or its lease is lost
            current.set_status(StatusCode.ERROR, "stopped")
            raise


class _Lease:
    """Holds a job's record for its runner while the job runs."""

    def __init__(self, records: JobRecords, record: JobRecord, seconds: timedelta, now: Callable[[], datetime]) -> None:
        self.lost = False
        self._record = record
        self._records = records
        self._seconds = seconds
        self._now = now
        self._stopped = asyncio.Event()

    async def keep(self) -> None:
        """Renew until stopped; returns when the lease is lost: taken by another, or past its end with no answer."""
        while not self.lost:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self._seconds.total_seconds() / RENEWALS)
                return
            try:
                async with asyncio.timeout(self._left()):  # a store that doesn't answer must not hide the lease's end
                    await self.write(replace(self._record, until=self._now() + self._seconds))
            except Exception as error:
                log_event("job lease not renewed", level=30, job=self._record.name, error=error)
                self.lost = not self._record.leased_at(self._now() + EARLY)

    def _left(self) -> float:
        """Seconds until the lease runs out."""
        return 0.0 if self._record.until is None else (self._record.until - self._now()).total_seconds()

    async def stop(self, renewing: "asyncio.Task[None]") -> None:
        """End the renewals; one that is on its way is waited for, since its version is needed."""
        self._stopped.set()
        await asyncio.wait({renewing})

    async def write(self, record: JobRecord) -> None:
        """Write over what was written last; `lost` tells that somebody else has the job now."""
        for _ in range(2):
            try:
                self._record = await self._records.write(replace(record, version=self._record.version))
            except Conflict:
                found = await self._records.find(record.name)
                if found is None or found.holder != self._record.holder:
                    self.lost = True
                    return
                self._record = found  # an answer got lost on its way: this was written by this lease
            else:
                return
