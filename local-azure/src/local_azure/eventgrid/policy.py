"""When Event Grid tries again, and when it gives up. No I/O.

Source: learn.microsoft.com, "Event Grid message delivery and retry". The service adds a little chance to its waits and
may leave tries out for an endpoint that has been away long; this one follows its schedule to the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["DEAD_LETTER_DELAY", "MOST_ATTEMPTS", "Outcome", "RetryPolicy", "outcome_of_status", "wait_after"]

_SCHEDULE: Final = (10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 10_800.0, 21_600.0)
_LAST: Final = 43_200.0
"""Seconds: every 12 hours, up to the time to live."""
MOST_ATTEMPTS: Final = 30
LONGEST_LIFE: Final = 1_440
"""Minutes."""
DEAD_LETTER_DELAY: Final = 300.0
"""Seconds between the last try and the blob."""


class Outcome(StrEnum):
    """What became of a try; the values are those of `lastDeliveryOutcome`."""

    DELIVERED = "Delivered"
    NOT_FOUND = "NotFound"
    DISABLED = "Disabled"
    FULL = "Full"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    BAD_REQUEST = "BadRequest"
    TIMED_OUT = "TimedOut"
    BUSY = "Busy"
    TOO_LARGE = "PayloadTooLarge"
    SOCKET_ERROR = "SocketError"
    RESOLUTION_ERROR = "ResolutionError"
    NO_SESSION = "SessionQueueNotSupported"
    ABORTED = "Aborted"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an event is tried, and for how many minutes; whichever ends first."""

    attempts: int = MOST_ATTEMPTS
    minutes: int = LONGEST_LIFE


_STATUSES: Final = {
    400: Outcome.BAD_REQUEST,
    401: Outcome.UNAUTHORIZED,
    403: Outcome.FORBIDDEN,
    404: Outcome.NOT_FOUND,
    408: Outcome.TIMED_OUT,
    413: Outcome.TOO_LARGE,
    429: Outcome.BUSY,
    503: Outcome.BUSY,
    504: Outcome.TIMED_OUT,
}
_FINAL: Final = frozenset({Outcome.BAD_REQUEST, Outcome.TOO_LARGE, Outcome.FORBIDDEN})
_FINAL_OF_WEBHOOKS: Final = frozenset({*_FINAL, Outcome.UNAUTHORIZED})
_LEAST: Final = {
    Outcome.UNAUTHORIZED: 300.0,
    Outcome.NOT_FOUND: 300.0,
    Outcome.TIMED_OUT: 120.0,
    Outcome.BUSY: 30.0,
}


def outcome_of_status(status: int) -> Outcome:
    """What a webhook's answer means: 200 to 204 are success, everything else isn't."""
    return Outcome.DELIVERED if 200 <= status <= 204 else _STATUSES.get(status, Outcome.ABORTED)


def wait_after(attempts: int, outcome: Outcome, *, webhook: bool) -> float | None:
    """Seconds until the next try after so many failed ones; None where no other try would help."""
    if outcome in (_FINAL_OF_WEBHOOKS if webhook else _FINAL):
        return None
    planned = _SCHEDULE[attempts - 1] if attempts <= len(_SCHEDULE) else _LAST
    # The table of statuses says how long for endpoints that are Azure resources; a webhook's 404 goes by the schedule.
    least = 10.0 if webhook and outcome is Outcome.NOT_FOUND else _LEAST.get(outcome, 10.0)
    return max(planned, least)
