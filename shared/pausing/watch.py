"""What is paused, as an instance knows it: read when it is asked for, and at most a few seconds old."""

import asyncio
from collections.abc import Callable

from .book import PauseBook, PauseState
from .pause import Kind, Pause

__all__ = ["PauseWatch"]

FRESH_SECONDS = 4.0
"""A pause is honoured within five seconds: this, and the time that reading takes."""


class PauseWatch:
    """Asks the book, once for everybody who asks meanwhile. An idle instance reads nothing.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, book: PauseBook, *, clock: Callable[[], float], fresh_seconds: float = FRESH_SECONDS) -> None:
        self._book = book
        self._clock = clock
        self._fresh = fresh_seconds
        self._known = PauseState()
        self._until = float("-inf")
        self._reading = asyncio.Lock()

    async def holding(self, *, lane: str, integration: str | None = None) -> Pause | None:
        """The pause that keeps a message of this lane and integration from its handler, if one does.

        What the store raises is passed on: without it nothing could be processed anyway.
        """
        state = await self._state()
        if not state.active:
            return None
        found = state.find(Kind.LANE, lane)
        if found is None and integration is not None:
            found = state.find(Kind.INTEGRATION, integration)
        return found

    async def of(self, kind: Kind, name: str) -> Pause | None:
        """The pause of one thing, if there is one."""
        return (await self._state()).find(kind, name)

    async def _state(self) -> PauseState:
        if self._clock() >= self._until:
            async with self._reading:
                began = self._clock()
                if began >= self._until:  # nobody else has read meanwhile
                    self._known = await self._book.state()
                    self._until = began + self._fresh
        return self._known
