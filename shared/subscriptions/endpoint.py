"""What one instance knows of a receiver: how many POSTs run side by side, how fast it answers, when it may be called.

A receiver that is slow or away gets few places, and what finds none is put off to a moment of its own: it never takes
the places of others, and no message comes back again and again to ask.
"""

from collections.abc import Callable
from typing import Protocol

from shared.resilience import AdaptiveBulkhead, BoundedCache, BulkheadFull, Concurrency, LimitSpent

from .sender import Answer

__all__ = ["Endpoint", "Endpoints", "Pace", "PutOff"]

SLOW = 2.0
"""Seconds from which an answer counts as an overload: the receiver gets fewer places."""
_QUICK, _PATIENCE = 0.5, 1.0
"""A receiver that answers within the first gets its deliveries waited for, so long."""
_SMOOTHED = 0.2
_LONGEST = 600.0
_REMEMBERED = 2_000


class PutOff(Exception):
    """Not now; this was no attempt.

    Attributes
    ----------
    after:
        Seconds.
    """

    def __init__(self, after: float) -> None:
        super().__init__(f"after {after:g} s")
        self.after = after


class Pace(Protocol):
    """The receiver's rate, kept by all instances together: `SharedPace`."""

    async def take(self, *, within: float) -> None:
        """Wait for a moment; raises LimitSpent."""
        ...


class Endpoint:
    """One receiver, as one instance sees it.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, concurrency: int, pace: Pace | None, *, clock: Callable[[], float]) -> None:
        self._bulkhead = AdaptiveBulkhead(Concurrency(most=concurrency, slow=SLOW), clock=clock)
        self._pace = pace
        self._clock = clock
        self._seconds = 0.0
        self._rests_until = 0.0
        self._next = 0.0

    async def enter(self) -> None:
        """Take a place; raises PutOff."""
        now = self._clock()
        if now < self._rests_until:
            raise self._later(self._rests_until - now)
        within = _PATIENCE if self._seconds <= _QUICK else 0.0
        try:
            await self._bulkhead.enter(batch=False, within=within)
        except BulkheadFull:
            raise self._later(self._seconds) from None
        if self._pace is None:
            return
        try:
            await self._pace.take(within=within)
        except LimitSpent as spent:
            self._bulkhead.give_back(batch=False)
            raise self._later(spent.after) from None
        except BaseException:
            self._bulkhead.give_back(batch=False)
            raise

    def exit(self, answer: Answer | None) -> None:
        """Give the place back, and learn from the answer; None: nothing was sent."""
        if answer is None:
            self._bulkhead.give_back(batch=False)
            return
        overloaded = answer.status is None or answer.status in (429, 503)
        self._bulkhead.exit(batch=False, overloaded=overloaded, took=answer.seconds)
        self._seconds += _SMOOTHED * (answer.seconds - self._seconds)

    def rest(self, seconds: float) -> None:
        """Call it no more for a while: it asked for that."""
        self._rests_until = max(self._rests_until, self._clock() + seconds)

    def _later(self, least: float) -> PutOff:
        """A moment of its own: those that are put off come one after the other, as fast as the receiver takes them."""
        now = self._clock()
        step = max(self._seconds, 0.01) / self._bulkhead.limit
        self._next = max(self._next + step, now + max(least, step, 0.1))
        if self._next > now + _LONGEST:
            self._next = now + _LONGEST / 2
        return PutOff(self._next - now)


class Endpoints:
    """Those that were called lately.

    Parameters
    ----------
    pace:
        By subscription and POSTs a second.
    """

    def __init__(self, pace: Callable[[str, float], Pace], *, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._known: BoundedCache[tuple[str, int, float | None], Endpoint] = BoundedCache(_REMEMBERED)

    def of(self, subscription: str, concurrency: int, rate: float | None) -> Endpoint:
        """The endpoint of a subscription; another one as soon as its bounds were changed."""
        key = (subscription, concurrency, rate)
        found = self._known.get(key)
        if found is None:
            pace = None if rate is None else self._pace(subscription, rate)
            found = self._known.put(key, Endpoint(concurrency, pace, clock=self._clock))
        return found
