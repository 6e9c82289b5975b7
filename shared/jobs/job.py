"""A job: what runs by the clock in an app, what an integration schedules, and what its function gets."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from .schedule import Schedule

__all__ = ["LONGEST_SECONDS", "Job", "JobRun", "Scheduled", "ScheduledRun", "WrongJob"]

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


Send = Callable[[UUID, str, str, Any], Awaitable[None]]
"""Sends a command with this id, of an event type in a version, with data: a model of its handler."""


@dataclass(frozen=True, kw_only=True)
class ScheduledRun(JobRun):
    """One run of what an integration scheduled; a long one stops before its time is over, and returns True."""

    name: str
    _send: Send
    _numbers: "count[int]" = field(default_factory=count)

    async def send(self, event_type: str, data: Any, *, version: str = "1.0", key: str | None = None) -> UUID:
        """Send a command to its handler; it is kept when this returns.

        A run that is begun again, since its process died, gives its commands the same ids: what had been sent takes
        effect once. Without `key` an id is made from the command's number in the run, so send in the same order.
        """
        number = next(self._numbers)
        message_id = uuid5(NAMESPACE_URL, f"sluice:{self.name}:{self.due.isoformat()}:{key or number}")
        await self._send(message_id, event_type, version, data)
        return message_id


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A function that an integration has run by the clock; True says that there is more to do."""

    name: str
    schedule: Schedule
    call: Callable[[ScheduledRun], Awaitable[bool | None]]
    catch_up: bool = True
