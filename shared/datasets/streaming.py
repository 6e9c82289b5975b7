"""From a thread that makes pieces of an answer to a loop that sends them, at the pace of whoever reads."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress

__all__ = ["pieces"]

_LOOK_SECONDS = 30.0
"""After which a piece that waits for its reader looks whether there is one."""
_AHEAD = 4
"""Pieces that are made before they are wanted."""


async def pieces(
    make: Callable[[], Iterator[bytes]], executor: Executor, stop: Callable[[Exception], None]
) -> AsyncGenerator[bytes, None]:
    """What `make` yields in a thread; its exception is raised here, behind what it had yielded.

    How long a piece may wait is for the reader to say, which closes this when it has waited enough.

    Parameters
    ----------
    stop:
        Called, with what `make` should fail with, when nobody wants more: it isn't waited for what it computes then.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
    left = False

    def put(piece: bytes) -> None:
        waiting = None
        while not left and not loop.is_closed():
            waiting = waiting or asyncio.run_coroutine_threadsafe(ready.put(piece), loop)
            with suppress(FutureTimeoutError):
                return waiting.result(_LOOK_SECONDS)
        raise TimeoutError("nobody reads this any more")

    def work() -> None:
        for piece in make():
            if piece:
                put(piece)

    def wake(_: object) -> None:
        with suppress(asyncio.QueueFull):  # whoever takes the last piece sees then that there is no more
            ready.put_nowait(None)

    working = loop.run_in_executor(executor, work)
    working.add_done_callback(wake)
    try:
        while not (working.done() and ready.empty()):
            piece = await ready.get()
            if piece is not None:
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
