"""How many calls run side by side: learned from how the partner takes them, with room for what somebody waits for.

Additive increase, multiplicative decrease: a call that was taken well while the places were used adds a fraction of a
place, one that met an overload takes three tenths of them away (as congestion control does: RFC 5681, 3.1).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AdaptiveBulkhead", "BulkheadFull", "Concurrency"]

_LESS = 0.7
_PAUSE = 1.0
"""Seconds between two decreases: what was under way when it began to be too much tells nothing new."""


@dataclass(frozen=True, kw_only=True)
class Concurrency:
    """Bounds of the calls that run side by side in one process.

    Parameters
    ----------
    least, most:
        The bounds within which it learns; it begins with the most.
    batch:
        The share of places that calls of the low lane may take at most.
    slow:
        Seconds from which a call counts as an overload; None: none does.
    """

    least: int = 1
    most: int = 100
    batch: float = 0.5
    slow: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= 1_000 or not 0 < self.batch <= 1:
            raise ValueError("concurrency: 1 <= least <= most <= 1000, batch above 0 and at most 1")
        if self.slow is not None and not self.slow > 0:
            raise ValueError("concurrency: slow is above 0, in seconds")


class BulkheadFull(Exception):
    """There is no place within the time that the call has."""


class AdaptiveBulkhead:
    """Places for calls.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, policy: Concurrency, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._limit = float(policy.most)
        self._running = {True: 0, False: 0}
        self._queues: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}
        self._decreased_at = float("-inf")

    @property
    def limit(self) -> int:
        """Places at the moment."""
        return int(self._limit)

    @property
    def running(self) -> int:
        """Calls under way."""
        return self._running[True] + self._running[False]

    def enter_now(self, *, batch: bool) -> bool:
        """Take a place that is free; False where there is none."""
        if self._queues[False] or not self._has_place(batch=batch):
            return False
        self._running[batch] += 1
        return True

    async def enter(self, *, batch: bool, within: float) -> None:
        """Take a place; those that somebody waits for come first.

        Raises
        ------
        BulkheadFull
        """
        if self.enter_now(batch=batch):
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues[batch].append(place)
        try:
            async with asyncio.timeout(max(0.0, within)):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give_back(batch=batch)
            if isinstance(error, TimeoutError):
                raise BulkheadFull from None
            raise

    def exit(self, *, batch: bool, overloaded: bool, took: float) -> None:
        """Give the place back, and learn from how the call went."""
        slow = self._policy.slow is not None and took >= self._policy.slow
        now = self._clock()
        if overloaded or slow:
            if now - self._decreased_at >= _PAUSE:
                self._decreased_at = now
                self._limit = max(float(self._policy.least), min(self._limit, self.running) * _LESS)
        elif self.running * 2 >= self._limit:
            self._limit = min(float(self._policy.most), self._limit + 1 / self._limit)
        self.give_back(batch=batch)

    def give_back(self, *, batch: bool) -> None:
        """Give a place back without a call to learn from."""
        self._running[batch] -= 1
        for kind in (False, True):
            waiting = self._queues[kind]
            while waiting and self._has_place(batch=kind):
                place = waiting.popleft()
                if not place.done():
                    self._running[kind] += 1
                    place.set_result(None)

    def _has_place(self, *, batch: bool) -> bool:
        if self.running >= self.limit:
            return False
        return not batch or self._running[True] < max(1, int(self._limit * self._policy.batch))
