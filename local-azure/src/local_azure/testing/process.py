"""A service in a process of its own, which prints a line when it is ready."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

__all__ = ["ServiceProcess"]

T = TypeVar("T")

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 40.0
"""A functions host gives what runs 30 s to end."""
_POLL_SECONDS: Final = 0.02


class ServiceProcess:
    """Starts `command`, which prints to the file `output`; whoever started it ends it."""

    def __init__(self, command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None) -> None:
        self.output = output
        with output.open("wb") as sink:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdout=sink, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def until(self, ready: Callable[[str], T | None]) -> T:
        """Wait until `ready` finds what it wants in what was printed.

        Raises
        ------
        RuntimeError
            It ended before, or took too long, and was ended; the message holds the end of what it printed.
        """
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up:
            runs = self.runs
            found = ready(self.log)
            if found is not None:
                return found
            if not runs:
                raise RuntimeError(f"{self._process.args!r} ended with {self.wait()}:\n{self.log[-2_000:]}")
            time.sleep(_POLL_SECONDS)
        self.kill()
        raise RuntimeError(f"{self._process.args!r} is not ready after {_START_SECONDS:.0f} s:\n{self.log[-2_000:]}")

    def send(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, without waiting for that."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended, and kill it if that takes too long; the exit code."""
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Have it end by a signal; the exit code."""
        self.send(number)
        return self.wait()

    def kill(self) -> int:
        """End it with no chance to tidy up; the exit code."""
        self._process.kill()
        return self._process.wait()
