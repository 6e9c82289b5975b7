"""What an integration schedules, and what its function gets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from .job import JobRun
from .schedule import Schedule

__all__ = ["Scheduled", "ScheduledRun"]

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
