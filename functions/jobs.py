"""The clock's trigger: one function per app, which runs whatever is due."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import azure.functions as func

from shared.jobs import Job, JobRunner, shortest_gap

from .triggers import AppName, Function, TimerTrigger

__all__ = ["jobs_function", "seconds_between_ticks"]

_DIVISORS_OF_60 = (30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)
_SHARE_OF_TICK = 0.8
"""A tick waits for its jobs for this part of the time to the next, which the platform fires only once it is over."""
_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def jobs_function(app: AppName, runner: Callable[[], JobRunner], *, seconds: int) -> Function:
    """The function of an app; `runner` is called with the first tick, so that nothing connects before.

    Parameters
    ----------
    seconds:
        From one tick to the next: a divisor of 60.
    """

    async def jobs(timer: func.TimerRequest) -> None:
        await runner().tick(seconds * _SHARE_OF_TICK)

    jobs.__name__ = f"jobs_{app}"
    schedule = "0 * * * * *" if seconds == 60 else f"*/{seconds} * * * * *"
    return Function(call=jobs, trigger=TimerTrigger(schedule=schedule), app=app)


def seconds_between_ticks(jobs: Iterable[Job]) -> int:
    """As often as the job that runs most often needs it, and not oftener: every tick wakes an instance."""
    gap = min((shortest_gap(job.schedule, after=_ANY_DAY) for job in jobs), default=timedelta(minutes=1))
    if gap >= timedelta(minutes=1):
        return 60
    return next(one for one in _DIVISORS_OF_60 if one <= max(1, gap.total_seconds()))
