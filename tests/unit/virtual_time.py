"""An event loop whose time passes only while everybody waits: hours of timeouts in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

__all__ = ["START", "VirtualTime"]

T = TypeVar("T")
START = datetime(2026, 1, 5, 8, 0, 2, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Instead of waiting it moves the loop's time."""

    loop: _Loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and for nothing that time would bring")
        self.loop.seconds += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.seconds


class VirtualTime:
    """Runs coroutines; `now` and `clock` tell the time of the loop."""

    def __init__(self) -> None:
        self._loop = _Loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run until it has ended."""
        return self._loop.run_until_complete(work)

    def clock(self) -> float:
        """Seconds that only ever grow."""
        return self._loop.time()

    def now(self) -> datetime:
        """The time of day."""
        return START + timedelta(seconds=self._loop.time())

    def close(self) -> None:
        """End the loop, and what still waits in it."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
