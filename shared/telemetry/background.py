"""A sink that works in a thread of its own: it takes spans at once, and writes them a moment later."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from .logs import log_event
from .spans import RecordedSpan

__all__ = ["BackgroundSink"]

WAITING = 20_000
"""Spans that wait to be written; beyond, the oldest are lost, and counted."""
AT_ONCE = 512
REPORT_SECONDS = 60.0


class BackgroundSink:
    """Writes spans beside the work.

    Parameters
    ----------
    name:
        As logs report it.
    write:
        Writes some spans; what it raises loses them, and is reported once a minute.
    close:
        Called at the end, in the same thread.
    every:
        Seconds between writes.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[RecordedSpan]], None],
        close: Callable[[], None],
        *,
        every: float,
    ) -> None:
        self._name = name
        self._write = write
        self._close = close
        self._every = every
        self._waiting: deque[RecordedSpan] = deque(maxlen=WAITING)
        self._lost = 0
        self._reported_at = -REPORT_SECONDS
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"spans-{name}", daemon=True)
        self._thread.start()

    def take(self, span: RecordedSpan) -> None:
        """Keep an ended span until it is written."""
        if len(self._waiting) == WAITING:
            self._lost += 1
        self._waiting.append(span)

    def close(self, seconds: float) -> None:
        """Return when everything is written, or that long has passed."""
        self._ending.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ending.wait(self._every)
            while self._waiting:
                spans = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                try:
                    self._write(spans)
                except Exception as error:  # whatever it is, it is no message's failure
                    self._lost += len(spans)
                    self._report(f"{type(error).__name__}: {error}")
            if self._lost:
                self._report("more spans than can be written")
        self._close()

    def _report(self, reason: str) -> None:
        if time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self._reported_at = time.monotonic()
            lost, self._lost = self._lost, 0
            log_event("spans lost", level=logging.WARNING, to=self._name, spans=lost, reason=reason[:300])
