"""A partner's limit that all instances keep together: moments at which a call may be made, leased in blocks.

Tokens that are leased ahead may all be spent at once, so that a second holds more calls than were agreed. Moments
can't: the shared row says when the next free one is, an instance takes as many from there as it has calls waiting, and
a moment that was missed is lost. So no span of the limit's length ever holds more than the limit, whoever calls.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from .shared_row import SharedRow, Snapshot

__all__ = ["Limit", "LimitSpent", "SharedPace"]

USED = 0.94
"""Of the limit that is handed out: what is missing pays for moments used late, and for ways that differ in length."""
_LATE = 0.04
"""Of the limit's span by which a moment may be used late: 0.94 of the calls in 1.04 of the span, and one at its edge,
are within the limit."""
_MOST = 256
"""Moments of one lease, where so many calls wait or are made in the time that is leased ahead."""
_AHEAD = 0.3
"""Seconds for which an instance leases at its latest pace, beyond the calls that wait."""
_SOON = 0.001
"""Seconds that aren't waited for: a timer of the loop is no finer."""
_TRIES = 20
_MISSED = 3
"""Leases whose moments may all be missed on the way, where a process is held up, before its call is put off."""
_ALONE = 4
"""While the store is away, each instance keeps to this part of the limit."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many calls in so many seconds."""

    calls: int
    per: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.calls, bool) or self.calls < 1 or not 0 < self.per <= 86_400:
            raise ValueError("limit: calls is 1 or more, per above 0 and at most a day, in seconds")


class LimitSpent(Exception):
    """No call may be made soon enough.

    Attributes
    ----------
    after:
        Seconds until one may.
    """

    def __init__(self, after: float) -> None:
        super().__init__("its limit is spent")
        self.after = after


class SharedPace:
    """One instance's part of a limit.

    Parameters
    ----------
    row:
        Where the next free moment is; None leaves each instance alone with the limit.
    now:
        The time of day, by which the instances agree.
    random:
        Returns 0 … 1.
    """

    def __init__(
        self,
        limit: Limit,
        row: SharedRow | None,
        *,
        now: Callable[[], datetime],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._step = limit.per / limit.calls / USED
        self._late = limit.per * _LATE
        self._row = row
        self._now = now
        self._random = random
        self._sleep = sleep
        self._moments: deque[float] = deque()
        self._next = 0.0
        self._waiting = 0
        self._taken = 0
        self._leased_at = self._time()
        self._leased = asyncio.Event()
        self._leased.set()

    async def take(self, *, within: float) -> None:
        """Wait for a moment at which a call may be made.

        Raises
        ------
        LimitSpent
            There is none within so many seconds.
        """
        now = self._time()
        ends = now + within
        while True:
            moment = self._own(now, ends) if self._leased.is_set() else 0.0
            if not moment:
                moment = await self._moment(ends)
                now = self._time()
            wait = moment - now
            if wait > _SOON:
                await self._sleep(wait)
                now = self._time()
            if now - moment <= self._late:
                return

    async def _moment(self, ends: float) -> float:
        self._waiting += 1
        tries = _MISSED
        try:
            while True:
                while not self._leased.is_set():  # all that wait go on at once: a lock would wake them one by one
                    await self._leased.wait()
                if moment := self._own(self._time(), ends):
                    return moment
                if not tries:
                    raise LimitSpent(self._step)
                tries -= 1
                self._leased.clear()
                try:
                    await self._lease(ends)
                finally:
                    self._leased.set()
        finally:
            self._waiting -= 1

    def _own(self, now: float, ends: float) -> float:
        """The next moment that was leased and isn't missed; 0 where there is none."""
        moments = self._moments
        while moments and moments[0] < now - self._late:
            moments.popleft()
        if not moments:
            return 0.0
        if moments[0] > ends:
            raise LimitSpent(moments[0] - now)
        self._taken += 1
        return moments.popleft()

    async def _lease(self, ends: float) -> None:
        if self._row is None:
            self._lease_alone(ends, self._step)
            return
        began = self._time()
        pace = self._taken / max(began - self._leased_at, self._step)
        self._taken, self._leased_at = 0, began
        count = min(max(1, self._waiting, int(pace * _AHEAD)), _MOST)
        try:
            for attempt in range(_TRIES):
                found = await self._row.read()
                now = self._time()
                first = max(now, _next(found))
                if first > ends:
                    raise LimitSpent(first - now)
                after = first + count * self._step
                if await self._row.write({"nextAt": after}, found) is not None:
                    self._moments.extend(first + number * self._step for number in range(count))
                    self._next = after
                    return
                count = min(_MOST, count * 2)  # many want some: fewer and larger leases
                await self._sleep(self._random() * self._step * min(2.0**attempt, 8))
        except LimitSpent:
            raise
        except Exception:  # the store is away
            self._lease_alone(ends, self._step * _ALONE)
            return
        raise LimitSpent(self._step * _MOST)

    def _lease_alone(self, ends: float, step: float) -> None:
        now = self._time()
        first = max(now, self._next)
        if first > ends:
            raise LimitSpent(first - now)
        self._moments.append(first)
        self._next = first + step

    async def pause(self, seconds: float) -> None:
        """Make no call for a while, by any instance: the partner asked for it."""
        self._moments.clear()
        until = self._time() + seconds
        self._next = max(self._next, until)
        if self._row is None:
            return
        try:
            for _ in range(_TRIES):
                found = await self._row.read()
                if _next(found) >= until or await self._row.write({"nextAt": until}, found) is not None:
                    return
        except Exception:  # the store is away: this instance knows at least
            return

    def _time(self) -> float:
        return self._now().timestamp()


def _next(found: Snapshot) -> float:
    return float(found.values.get("nextAt", 0.0))
