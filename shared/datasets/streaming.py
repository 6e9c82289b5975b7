"""From a thread that makes pieces of an answer to a loop that sends them, at the pace of whoever reads."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress

__all__ = ["pieces"]

_PATIENCE = 30.0
"""Seconds that a piece may wait for its reader."""
_AHEAD = 4
"""Pieces that are made before they are wanted."""


async def pieces(
    make: Callable[[], Iterator[bytes]], executor: Executor, stop: Callable[[Exception], None]
) -> AsyncGenerator[bytes, None]:
    """What `make` yields in a thread; its exception is raised here, behind what it had yielded.

    Parameters
    ----------
    stop:
        Called, with what `make` should fail with, when nobody wants more: it isn't waited for what it computes then.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
    left = False

    def put(piece: bytes | None) -> None:
        if left:
            raise TimeoutError("nobody reads this any more")
        waiting = asyncio.run_coroutine_threadsafe(ready.put(piece), loop)
        try:
            waiting.result(_PATIENCE)
        except FutureTimeoutError:
            waiting.cancel()
            raise TimeoutError("nobody reads this any more") from None

    def work() -> None:
        try:
            for piece in make():
                if piece:
                    put(piece)
        finally:
            with suppress(TimeoutError):
                put(None)

    working = loop.run_in_executor(executor, work)
    try:
        while (piece := await ready.get()) is not None:
            yield piece
        await working
    finally:
        left = True
        if not working.done():
            stop(TimeoutError("nobody reads this any more"))
        while not working.done():
            while not ready.empty():
                ready.get_nowait()
            await asyncio.wait((working,), timeout=0.02)
        if not working.cancelled():
            working.exception()
