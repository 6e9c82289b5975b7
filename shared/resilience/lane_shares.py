"""What lanes share by weight: places in front of the handlers, and all else, for which a light lane makes way."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

__all__ = ["LaneTurns", "Share", "WeightedBulkhead"]

Name = TypeVar("Name")
Item = TypeVar("Item")

CALM_SECONDS = 10.0
"""A lane makes way for so long after the last heavier batch: the next one is likely to come."""
PATIENCE = 3.0
"""A slice waits for heavier lanes at most so many times as long as the last one took: a light lane never stops."""
LONGEST_WAIT = 0.25
SLOW_SECONDS = 0.25
"""A slice that takes longer waits for something else than the processor: more of it may run side by side."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A lane's weight, and how many messages it takes at a time while a heavier lane is at work."""

    weight: float
    slice: int

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.slice < 1:
            raise ValueError("weight must be above 0, slice 1 or more")


class LaneTurns(Generic[Name]):
    """Guards what lanes have in common beside the handlers' places: the event loop, storage, the broker.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, shares: Mapping[Name, Share], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shares = dict(shares)
        self._clock = clock
        self._at_work: Counter[Name] = Counter()
        self._last: dict[Name, float] = {}
        self._ended = asyncio.Event()

    @contextmanager
    def at_work(self, lane: Name) -> Iterator[None]:
        """Lighter lanes make way during the block."""
        self._at_work[lane] += 1
        try:
            yield
        finally:
            self._at_work[lane] -= 1
            self._last[lane] = self._clock()
            self._ended.set()

    async def slices(self, lane: Name, items: Sequence[Item]) -> AsyncGenerator[Sequence[Item], None]:
        """The items in order, each piece when it is its turn: all at once while no heavier lane has work."""
        size, start = self._shares[lane].slice, 0
        while start < len(items):
            began = self._clock()
            piece = items[start : start + size] if self._is_pressed(lane) else items[start:]
            yield piece
            start += len(piece)
            took = self._clock() - began
            if took > SLOW_SECONDS:
                size *= 2
            if start < len(items):
                await self._make_way(lane, min(LONGEST_WAIT, PATIENCE * took))

    def _heavier(self, lane: Name) -> list[Name]:
        weight = self._shares[lane].weight
        return [other for other, share in self._shares.items() if share.weight > weight]

    def _is_pressed(self, lane: Name) -> bool:
        calm = self._clock() - CALM_SECONDS
        return any(self._at_work[other] or self._last.get(other, calm) > calm for other in self._heavier(lane))

    async def _make_way(self, lane: Name, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while any(self._at_work[other] for other in self._heavier(lane)):
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:  # its share is due
            return


class WeightedBulkhead(Generic[Name]):
    """A bulkhead whose places are shared by weight.

    A free place goes to the waiting lane that has had the least for its weight (stride scheduling: Waldspurger and
    Weihl, 1995), so each lane's share is at least its weight's while it has work, and an idle lane's share goes to the
    others. A lane that was idle starts at the others' pace: it can't save up places.

    Parameters
    ----------
    places:
        Handlers that run side by side.
    weights:
        Lane → weight, each above 0.
    """

    def __init__(self, places: int, weights: Mapping[Name, float]) -> None:
        if places < 1 or not weights or not all(0 < weight < inf for weight in weights.values()):
            raise ValueError("places must be 1 or more, every weight above 0 and finite")
        self.places = places
        self._free = places
        self._weights = dict(weights)
        self._pace = dict.fromkeys(weights, 0.0)
        self._now = 0.0
        self._waiting: dict[Name, deque[asyncio.Future[None]]] = {lane: deque() for lane in weights}

    @property
    def active(self) -> int:
        """Places that are taken."""
        return self.places - self._free

    @asynccontextmanager
    async def place(self, lane: Name) -> AsyncIterator[None]:
        """Hold a place for the time of the block."""
        await self._enter(lane)
        try:
            yield
        finally:
            self._free += 1
            self._admit()

    async def _enter(self, lane: Name) -> None:
        waiting = self._waiting[lane]
        if not waiting:
            self._pace[lane] = max(self._pace[lane], self._now)
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self._free += 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._free:
            for waiting in self._waiting.values():
                while waiting and waiting[0].done():  # gave up while waiting
                    waiting.popleft()
            lanes = [lane for lane, waiting in self._waiting.items() if waiting]
            if not lanes:
                return
            lane = min(lanes, key=lambda name: self._pace[name])
            self._now = self._pace[lane]
            self._pace[lane] += 1 / self._weights[lane]
            self._free -= 1
            self._waiting[lane].popleft().set_result(None)
