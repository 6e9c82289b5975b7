"""Scheduled work: one function per app that has jobs, whoever offers them, and the records of their runs."""

from collections.abc import Callable, Sequence

from functions.jobs import jobs_function, seconds_between_ticks
from functions.triggers import AppName
from shared.jobs import Job, JobRecords, JobRunner
from shared.jobs.settings import JobSettings

from .capability import Capability, Command
from .composition import Composition
from .declaring import Access, Need, Table
from .platform import platform

__all__ = ["gathered", "job_records"]

RECORDS = Table(name="jobs")


def job_records(composition: Composition) -> JobRecords:
    """When each job is due, who runs it, and how its last run went."""
    return composition.closing(JobRecords(composition.get(platform).table(RECORDS.name)))


def gathered(composition: Composition, offered: Sequence[Capability]) -> Capability:
    """The clock as a capability of its own, from the jobs that the others offer."""
    jobs = [job for one in offered for job in one.jobs]
    apps = [app for app in AppName if any(job.app == app for job in jobs)]
    functions = [
        jobs_function(app, _runner(composition, own), seconds=seconds_between_ticks(own))
        for app in apps
        if (own := [job for job in jobs if job.app == app])
    ]
    return Capability(
        name="jobs",
        functions=functions,
        resources=[RECORDS],
        needs=[Need(access=Access.WRITE, to=RECORDS, why="Keeps when each job is due and how it went.")],
        settings=JobSettings.variables(),
        commands=[Command(name="jobs", summary="show when each job ran, and runs next", module="ops.jobs")],
    )


def _runner(composition: Composition, jobs: Sequence[Job]) -> Callable[[], JobRunner]:
    made: list[JobRunner] = []

    def runner() -> JobRunner:
        if not made:
            made.append(JobRunner(jobs, composition.get(job_records), now=composition.now))
            composition.on_close(made[0].close)
        return made[0]

    return runner
