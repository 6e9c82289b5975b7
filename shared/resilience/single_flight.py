"""Single-flight: one call at a time for each key; whoever asks meanwhile gets the answer of the call in progress."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Call", "SingleFlight"]

T = TypeVar("T")


class Call(Generic[T]):
    """A call in progress: a caller that is cancelled, or waits no longer, leaves it to the others.

    Attributes
    ----------
    started:
        When it began, by the clock of its `SingleFlight`.
    """

    __slots__ = ("_task", "started")

    def __init__(self, task: asyncio.Task[T], started: float) -> None:
        self._task = task
        self.started = started

    async def answer(self) -> T:
        """Its answer; its error is everybody's error."""
        return await asyncio.shield(self._task)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for its end, but no longer than this; whatever it ends with."""
        if seconds is None or seconds > 0:
            await asyncio.wait({self._task}, timeout=seconds)


class SingleFlight(Generic[T]):
    """Calls in progress, by key; nothing is remembered of one that has ended, least of all a failure.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: dict[Hashable, tuple[Call[T], asyncio.Task[T]]] = {}

    def get(self, key: Hashable) -> Call[T] | None:
        """The call in progress for a key."""
        found = self._calls.get(key)
        return None if found is None else found[0]

    def start(self, key: Hashable, function: Callable[[], Awaitable[T]]) -> Call[T]:
        """The call in progress for a key, or a new one of `function`."""
        found = self._calls.get(key)
        if found is not None:
            return found[0]
        task = asyncio.create_task(_run(function), name=f"single flight {key}")
        call = Call(task, self._clock())
        self._calls[key] = (call, task)
        task.add_done_callback(lambda done: self._end(key, done))
        return call

    async def call(self, key: Hashable, function: Callable[[], Awaitable[T]]) -> T:
        """The answer of the call in progress for a key, or of `function`."""
        return await self.start(key, function).answer()

    def _end(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._calls[key]
        if not task.cancelled():
            task.exception()  # perhaps nobody waits any more; that is no forgotten error

    async def close(self) -> None:
        """Stop what is in progress."""
        tasks = [task for _, task in self._calls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(function: Callable[[], Awaitable[T]]) -> T:
    return await function()
