"""What the process itself is at: memory, processor time, garbage collection, and how late the event loop wakes up."""

import asyncio
import gc
import os
import time
from contextvars import Context
from pathlib import Path

from .metrics import Metrics

__all__ = ["LoopWatch", "watch_process"]

WATCH_SECONDS = 120.0
EVERY_SECONDS = 0.5
_STATM = Path("/proc/self/statm")
_is_watching = False
_began = [0.0]


def watch_process() -> None:
    """Measure pauses of garbage collection from now on, and memory whenever somebody reads; once for the process."""
    global _is_watching
    if _is_watching:
        return
    _is_watching = True
    gc.callbacks.append(_collected)
    Metrics.memory.watch(lambda: [(memory_bytes(), {})])


def read_processor_time() -> None:
    """Bring the counter of processor time up to now."""
    used = time.process_time()
    counted = sum(float(one.value) for one in Metrics.cpu.points() if isinstance(one.value, int | float))
    Metrics.cpu.add(max(0.0, used - counted))


def memory_bytes() -> int:
    """Memory of this process in RAM.

    Raises
    ------
    OSError
        The platform doesn't say.
    """
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _collected(phase: str, info: dict[str, int]) -> None:
    if phase == "start":
        _began[0] = time.perf_counter()
    else:
        Metrics.gc_pause.record(time.perf_counter() - _began[0], generation=info["generation"])


class LoopWatch:
    """Samples how late the loop wakes up, for a while after it was last asked for: an idle process isn't kept awake."""

    def __init__(self) -> None:
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """Go on watching; to be called on the loop."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + WATCH_SECONDS
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="loop watch", context=Context())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while (began := loop.time()) < self._until:
            await asyncio.sleep(EVERY_SECONDS)
            Metrics.loop_lag.record(max(0.0, loop.time() - began - EVERY_SECONDS))

    async def close(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
