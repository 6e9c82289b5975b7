"""When a delivery that failed is tried again, and when a receiver is given up. Pure: time and chance are passed in.

The waits are Svix's (github.com/svix/svix-webhooks, read in August 2026): 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.partners.retry_after import retry_after

from .sender import Answer

__all__ = ["DISABLED_AFTER", "MOST_ATTEMPTS", "Outcome", "Verdict", "judge"]

WAITS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
MOST_ATTEMPTS = len(WAITS) + 1
JITTER = 0.2
LEAST_AFTER_TIMEOUT = 60.0
THROTTLED = 60.0
"""Seconds to wait where a receiver has too much to do and doesn't say for how long."""
DISABLED_AFTER = timedelta(days=5)
"""A receiver that has failed for so long, without one success, is disabled."""
UNSENT_FOR = DISABLED_AFTER
"""A delivery of this age has an attempt counted where no credential could be had, so that it ends."""
_UNSENT_LEAST, _UNSENT_MOST = 30.0, 3_600.0
_THROTTLES = frozenset({429, 503})
_GONE = 410


class Outcome(StrEnum):
    """What one attempt came to."""

    DELIVERED = "delivered"
    FAILED = "failed"
    THROTTLED = "throttled"
    """The receiver has too much to do: it comes again when the receiver says, and this was no attempt."""
    UNSENT = "unsent"
    """The app's own credential can't be had: that says nothing of the receiver."""
    GONE = "gone"
    """The receiver wants nothing any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt.

    Attributes
    ----------
    seconds:
        Until the next try; None where there is none.
    counts:
        Whether it was an attempt.
    """

    outcome: Outcome
    seconds: float | None
    counts: bool = True


def judge(
    answer: Answer, *, attempt: int, now: datetime, random: Callable[[], float], age: timedelta = timedelta()
) -> Verdict:
    """What an answer to attempt number `attempt`, from 1 on, of a delivery of such an age means.

    Example
    -------
    >>> from datetime import UTC
    >>> refused = Answer(status=500, seconds=0.1, headers={})
    >>> judge(refused, attempt=1, now=datetime(2026, 1, 5, tzinfo=UTC), random=lambda: 0.5)
    Verdict(outcome=<Outcome.FAILED: 'failed'>, seconds=5.0, counts=True)
    """
    if answer.good:
        return Verdict(outcome=Outcome.DELIVERED, seconds=None)
    if answer.status == _GONE:
        return Verdict(outcome=Outcome.GONE, seconds=None)
    asked = _asked(answer.headers, now)
    if answer.status in _THROTTLES and (asked is not None or answer.status == 429):
        wait = max(1.0, THROTTLED if asked is None else asked)
        return Verdict(outcome=Outcome.THROTTLED, seconds=wait + wait * JITTER * random(), counts=False)
    failed = Outcome.UNSENT if answer.own else Outcome.FAILED
    if answer.unsent and age < UNSENT_FOR:
        wait = min(max(age.total_seconds(), _UNSENT_LEAST), _UNSENT_MOST)
        return Verdict(outcome=failed, seconds=wait * (1 - JITTER + 2 * JITTER * random()), counts=False)
    if attempt >= MOST_ATTEMPTS:
        return Verdict(outcome=failed, seconds=None)
    planned = WAITS[attempt - 1]
    if answer.timed_out:
        planned = max(planned, LEAST_AFTER_TIMEOUT)
    wait = planned * (1 - JITTER + 2 * JITTER * random())
    if asked is not None:
        wait = min(max(wait, asked), 2 * max(planned, LEAST_AFTER_TIMEOUT))
    return Verdict(outcome=failed, seconds=wait)


def _asked(headers: Mapping[str, str], now: datetime) -> float | None:
    return retry_after(headers, now=now)
