"""Learns that the process is about to stop."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["on_terminate"]

_CALLS: list[Callable[[], object]] = []


def on_terminate(call: Callable[[], object]) -> None:
    """Have something called at SIGTERM, before whatever the process does with it anyway; does nothing in a thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    _CALLS.append(call)
    if len(_CALLS) > 1:
        return
    before = signal.getsignal(signal.SIGTERM)

    def terminated(number: int, frame: FrameType | None) -> None:
        for one in _CALLS:
            one()
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, terminated)
