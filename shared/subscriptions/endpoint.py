"""What one instance knows of a receiver: how many POSTs run side by side, how fast it answers, when it may be called.

A receiver that is slow or away gets few places, and what finds none is put off to a moment of its own: it never takes
the places of others, and no message comes back again and again to ask.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from shared.resilience import BoundedCache, LimitSpent

from .sender import Answer

__all__ = ["Endpoint", "Endpoints", "Pace", "PutOff"]

SLOW = 2.0
"""Seconds from which an answer counts as an overload: the receiver gets fewer places."""
_FIRST_PLACES = 2
_QUICK, _PATIENCE = 0.5, 1.0
"""For a receiver that answers within the first a delivery waits, so long."""
_BRIEF = 0.3
"""Seconds that any waits for its pace: without them nothing would ever go to a receiver that nobody knows yet."""
_UNPROVEN, _UNPROVEN_OF_ONE = 16, 8
"""POSTs of one instance, and of one owner in it, to receivers that aren't quick: of the 64 messages that it deals with
at once (`host.json`), so that receivers that hang leave places to the others."""
_UNPROVEN_STEP = 0.5
"""Seconds between the moments of those that find none of these places."""
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


class Unproven:
    """Places that all receivers share which aren't quick: those that nobody knows yet, that are slow, or hang."""

    def __init__(self, most: int = _UNPROVEN, most_of_one: int = _UNPROVEN_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken: Counter[str] = Counter()

    def are_free(self, owner: str) -> bool:
        """Whether a subscription of an owner may take one."""
        return self._taken[owner] < self._most_of_one and self._taken.total() < self._most

    def take(self, owner: str) -> None:
        """One more is taken."""
        self._taken[owner] += 1

    def give_back(self, owner: str) -> None:
        """One less is."""
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]


class Endpoint:
    """One receiver, as one instance sees it.

    It begins with few places and gets more with each quick answer, so that a receiver that nobody knows yet can't take
    the places of all; an answer that is slow, or missing, halves them.

    Parameters
    ----------
    concurrency:
        Places at most.
    unproven:
        Those that it needs one of while it isn't quick.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self, owner: str, concurrency: int, pace: Pace | None, unproven: Unproven, *, clock: Callable[[], float]
    ) -> None:
        self._owner = owner
        self._unproven = unproven
        self._most = concurrency
        self._places = float(min(_FIRST_PLACES, concurrency))
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pace = pace
        self._clock = clock
        self._seconds = 0.0
        self._is_quick = False
        self._rests_until = 0.0
        self._next = 0.0

    def admit(self) -> None:
        """Raise PutOff where `enter` would do so at once."""
        now = self._clock()
        if now < self._rests_until:
            raise self._later(self._rests_until - now)
        if self._running >= int(self._places):
            expected = (len(self._waiting) + 1) * self._seconds / self._places
            if not self._is_quick or expected > _PATIENCE:
                raise self._later(self._seconds)
        if not self._is_quick and not self._unproven.are_free(self._owner):
            raise self._later(2 * _UNPROVEN_STEP, step=_UNPROVEN_STEP)

    async def enter(self) -> bool:
        """Take a place, and say whether it is an unproven one, which `exit` needs to know; raises PutOff."""
        self.admit()
        unproven = not self._is_quick  # then there is a place, or it would have been put off
        if unproven:
            self._unproven.take(self._owner)
        if self._running < int(self._places):
            self._running += 1
        else:
            await self._wait()
        if self._pace is None:
            return unproven
        try:
            await self._pace.take(within=_PATIENCE if self._is_quick else _BRIEF)
            return unproven
        except BaseException as error:
            self._give_back(unproven=unproven)
            if isinstance(error, LimitSpent):
                raise self._later(error.after) from None
            raise

    async def _wait(self) -> None:
        """Wait for a place, where that takes a moment alone: whoever waits has one of the instance's places."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(_PATIENCE):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._give_back(unproven=False)
            if isinstance(error, TimeoutError):
                raise self._later(self._seconds) from None
            raise

    def exit(self, answer: Answer | None, *, unproven: bool) -> None:
        """Give the place back, and learn from the answer; None: nothing was sent."""
        if answer is not None:
            overloaded = answer.status is None or answer.status in (429, 503) or answer.seconds >= SLOW
            self._places = max(1.0, self._places / 2) if overloaded else min(float(self._most), self._places + 1)
            self._seconds += (answer.seconds - self._seconds) * (_SMOOTHED if self._seconds else 1.0)
            self._is_quick = not overloaded and self._seconds <= _QUICK
        self._give_back(unproven=unproven)

    def _give_back(self, *, unproven: bool) -> None:
        if unproven:
            self._unproven.give_back(self._owner)
        self._running -= 1
        while self._waiting and self._running < int(self._places):
            place = self._waiting.popleft()
            if not place.done():
                self._running += 1
                place.set_result(None)

    def rest(self, seconds: float) -> None:
        """Call it no more for a while: it asked for that."""
        self._rests_until = max(self._rests_until, self._clock() + seconds)

    def _later(self, least: float, *, step: float = 0.01) -> PutOff:
        """A moment of its own: those that are put off come one after the other, as fast as the receiver takes them."""
        now = self._clock()
        step = max(self._seconds / self._places, step)
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
        self._unproven = Unproven()
        self._known: BoundedCache[tuple[str, int, float | None], Endpoint] = BoundedCache(_REMEMBERED)

    def of(self, owner: str, subscription: str, concurrency: int, rate: float | None) -> Endpoint:
        """The endpoint of a subscription; another one as soon as its bounds were changed."""
        key = (subscription, concurrency, rate)
        found = self._known.get(key)
        if found is None:
            pace = None if rate is None else self._pace(subscription, rate)
            found = self._known.put(key, Endpoint(owner, concurrency, pace, self._unproven, clock=self._clock))
        return found
