"""A weighted bulkhead in front of the handlers: high goes first, yet low always moves."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Generic, TypeVar

__all__ = ["WeightedBulkhead"]

Name = TypeVar("Name")


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
        self._free = places
        self._weights = dict(weights)
        self._pace = dict.fromkeys(weights, 0.0)
        self._now = 0.0
        self._waiting: dict[Name, deque[asyncio.Future[None]]] = {lane: deque() for lane in weights}

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
