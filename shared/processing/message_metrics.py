"""What is counted of each message, once it has its outcome."""

from bisect import bisect_left
from datetime import datetime
from typing import Final

from shared.messages import Headers, Lane
from shared.synthetic import EVENT_TYPE
from shared.telemetry import Metrics
from shared.work import Dead, Done, Duplicate, Ended, Parked, RetryLater

__all__ = ["OBJECTIVE_SECONDS", "begun", "ended"]

OBJECTIVE_SECONDS: Final = {Lane.HIGH: 5, Lane.NORMAL: 60, Lane.LOW: 60, Lane.ORDERED: 60}
"""Within so long after its acceptance a message is to be done, retries included; 99.9 of 100 are."""
_BOUNDS: Final = (1, 2, 5, 10, 30, 60, 300, 1_800, 3_600)
_OUTCOMES: Final = {Done: "done", Duplicate: "duplicate", Dead: "dead", Parked: "parked"}
_UNREAD: Final = "unknown"


def begun(headers: Headers, *, now: datetime) -> None:
    """A handler is about to run."""
    if headers.event_type == EVENT_TYPE:
        return
    if headers.attempt == 1 and headers.accepted_at is None and not headers.replay:
        Metrics.messages_age.record(_since(headers, now), lane=headers.lane.value)


def ended(one: Ended, *, now: datetime) -> None:
    """A message has its outcome; what its handler counted counts once the handler's work is committed.

    A marked message is nobody's: it has counts of its own.
    """
    outcome, headers = one.outcome, one.headers
    if headers is not None and headers.event_type == EVENT_TYPE:
        return
    lane = _UNREAD if headers is None else headers.lane.value
    name = ("retry" if outcome.counts else "deferred") if isinstance(outcome, RetryLater) else _OUTCOMES[type(outcome)]
    integration = _UNREAD if one.message is None else one.message.handler.integration
    Metrics.messages_processed.add(lane=lane, integration=integration, outcome=name)
    if isinstance(outcome, Dead) or (isinstance(outcome, RetryLater) and outcome.counts):
        Metrics.messages_failed.add(lane=lane, category=outcome.failure.category.value)
    if headers is not None and isinstance(outcome, Done | Dead) and not headers.replay:
        seconds = _since(headers, now)
        Metrics.messages_time.record(seconds, lane=lane, outcome=name)
        Metrics.messages_took.add(lane=lane, within=_bound(seconds))
        met = isinstance(outcome, Done) and seconds <= OBJECTIVE_SECONDS[headers.lane]
        Metrics.messages_objective.add(lane=lane, met="yes" if met else "no")
        Metrics.messages_attempts.record(headers.attempt, lane=lane)
    if isinstance(outcome, Done) and one.work is not None:
        for counter, amount, attributes in one.work.counted:
            counter.add(amount, **attributes)


def _bound(seconds: float) -> str:
    number = bisect_left(_BOUNDS, seconds)
    return "more" if number == len(_BOUNDS) else str(_BOUNDS[number])


def _since(headers: Headers, now: datetime) -> float:
    """Seconds since a message was accepted; clocks of instances differ by a little."""
    return max(0.0, (now - (headers.accepted_at or headers.first_attempt_at)).total_seconds())
