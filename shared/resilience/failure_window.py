"""When a partner counts as broken: the pure part of a circuit breaker. Time is passed in."""

from collections import deque
from dataclasses import dataclass
from enum import Enum

__all__ = ["BreakerPolicy", "FailureWindow", "Result"]


class Result(Enum):
    """What a call tells of the partner's health. A refusal says that it is alive, and has too much to do."""

    GOOD = "good"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class BreakerPolicy:
    """When the breaker opens, and for how long.

    Parameters
    ----------
    failures, refusals:
        So many one after the other open it; 0 never does.
    rate:
        The share of failures in the window from which it opens.
    slow, slow_rate:
        Calls that take so many seconds are slow; the share of slow calls from which it opens. None: none is slow.
    calls, seconds:
        The window: the last so many calls, and of those only the ones of so many seconds.
    least_calls:
        With fewer calls in the window, shares don't count.
    open_for, open_most:
        Seconds that it stays open at first, doubled with each probe that fails, and at most. A partner that asks for
        more gets it.
    """

    failures: int = 5
    refusals: int = 10
    rate: float = 0.5
    slow: float | None = None
    slow_rate: float = 0.8
    calls: int = 100
    seconds: float = 60.0
    least_calls: int = 20
    open_for: float = 60.0
    open_most: float = 600.0

    def __post_init__(self) -> None:
        if self.failures < 0 or self.refusals < 0 or self.calls < 1 or not 1 <= self.least_calls <= self.calls:
            raise ValueError("breaker: failures and refusals are 0 or more, calls 1 or more, least_calls 1 to calls")
        if not (0 < self.rate <= 1 and 0 < self.slow_rate <= 1 and self.seconds > 0):
            raise ValueError("breaker: rate and slow_rate are above 0 and at most 1, seconds above 0")
        if not 0 < self.open_for <= self.open_most or (self.slow is not None and not self.slow > 0):
            raise ValueError("breaker: open_for is above 0 and at most open_most, slow above 0")

    def opening(self, times: int, *, asked: float | None, drawn: float) -> float:
        """Seconds that it stays open the n-th time in a row.

        Parameters
        ----------
        asked:
            What the partner asked for; it isn't shortened.
        drawn:
            0 … 1: up to a quarter more, so that what waits for several partners doesn't come back as one wave.
        """
        planned = min(self.open_most, self.open_for * 2.0 ** min(times - 1, 60))
        return max(asked or 0.0, planned * (1 + drawn / 4))


class FailureWindow:
    """The latest calls, and whether they are enough to open."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._calls: deque[tuple[float, bool, bool]] = deque()
        self._failed = 0
        self._slow = 0
        self._failed_in_a_row = 0
        self._refused_in_a_row = 0

    def add(self, result: Result, *, took: float, now: float) -> str | None:
        """Count a call that ended now; why the breaker should open, or None."""
        policy = self._policy
        failed = result is Result.FAILED
        slow = policy.slow is not None and took >= policy.slow
        self._forget(now)
        self._calls.append((now, failed, slow))
        self._failed += failed
        self._slow += slow
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        self._refused_in_a_row = self._refused_in_a_row + 1 if result is Result.REFUSED else 0
        if policy.failures and self._failed_in_a_row >= policy.failures:
            return f"{self._failed_in_a_row} failures in a row"
        if policy.refusals and self._refused_in_a_row >= policy.refusals:
            return f"{self._refused_in_a_row} refusals in a row"
        count = len(self._calls)
        if count < policy.least_calls:
            return None
        if self._failed >= policy.rate * count:
            return f"{self._failed} of {count} calls failed"
        if policy.slow is not None and self._slow >= policy.slow_rate * count:
            return f"{self._slow} of {count} calls took {policy.slow:g} s or more"
        return None

    def _forget(self, now: float) -> None:
        since = now - self._policy.seconds
        while self._calls and (len(self._calls) >= self._policy.calls or self._calls[0][0] < since):
            _, failed, slow = self._calls.popleft()
            self._failed -= failed
            self._slow -= slow

    def clear(self) -> None:
        """Begin anew."""
        self._calls.clear()
        self._failed = self._slow = self._failed_in_a_row = self._refused_in_a_row = 0
