"""What runs by the clock, as a value."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from .schedule import Schedule

__all__ = ["LONGEST_SECONDS", "Job", "JobRun", "WrongJob"]

LONGEST_SECONDS = 240.0
"""The longest run of a job: below the function time-out of `host.json`, which ends the whole process."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}(\.[a-z][a-z0-9-]{0,62})?")


class WrongJob(ValueError):
    """A job that can't be run; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run, as the job sees it.

    Attributes
    ----------
    due:
        When it should have begun; what it is to work on depends on this and not on the clock.
    last_success:
        When the last run that did its work was due; None where there was none yet.
    time_left:
        Seconds until it is cancelled; a long job stops before and says that there is more.
    """

    due: datetime
    last_success: datetime | None
    time_left: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work by the clock, done by one instance at a time.

    Attributes
    ----------
    name:
        `sweep-outbox`, or `orders.missed-scans` for an integration's.
    app:
        The function app that runs it.
    call:
        The work. True: there is more, and it goes on at the next tick; what it does has to be safe to do again, since
        the process may die, or the lease pass to another instance, in the middle of it.
    catch_up:
        What came due while nothing ran is done once, as soon as something runs; without, it waits for its next time.
    seconds:
        How long a run may take.
    """

    name: str
    app: str
    schedule: Schedule
    call: Callable[[JobRun], Awaitable[bool | None]]
    catch_up: bool = True
    seconds: float = LONGEST_SECONDS

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise WrongJob(f"the job {self.name!r}: use lower-case letters, digits and hyphens")
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise WrongJob(f"the job {self.name!r} may take more than 0 and at most {LONGEST_SECONDS:.0f} s")
