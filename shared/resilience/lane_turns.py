"""How a light lane makes way: while heavier lanes are at work its batches go in slices, with room between them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["LaneTurns", "Share"]

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
