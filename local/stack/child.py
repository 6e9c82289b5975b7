"""One child process: started with its output in a log file, watched, and stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.stack.containment import adopt, ask_to_stop, kill, spawn_arguments

__all__ = ["Child", "Service"]

_LONGEST_PRINTED = 256 * 1024
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Failed|Missing|Warning)\b: \S")
"""How Python and Node end a stack: the type, and what it says."""
_ERROR = re.compile(r"\b(?:error|fatal|cannot|failed)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Service:
    """A process the stack keeps running.

    `is_ready` is asked until it says yes; `stop_seconds` is how long it may take to end by itself.
    """

    name: str
    command: list[str]
    folder: Path
    environment: Mapping[str, str]
    is_ready: Callable[[Child], Awaitable[bool]]
    start_seconds: float = 60.0
    stop_seconds: float = 20.0


class Child:
    """One run of a service."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self._log = log
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id; the child must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def start(self) -> None:
        """Start the process; what it prints is appended to its log.

        Raises
        ------
        OSError
            If the program cannot be started.
        """
        with self._log.open("ab") as sink:
            self._log_start = sink.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.service.command,
                cwd=self.service.folder,
                env=dict(self.service.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=asyncio.subprocess.STDOUT,
                **spawn_arguments(),
            )
        adopt(self._process.pid)

    def printed(self) -> str:
        """What this run has printed so far, or the end of it if that is very much."""
        with self._log.open("rb") as source:
            end = source.seek(0, 2)
            source.seek(max(self._log_start, end - _LONGEST_PRINTED))
            return source.read().decode("utf-8", "replace")

    def first_printed(self) -> str:
        """The beginning of what this run printed, where a process says that it is ready."""
        with self._log.open("rb") as source:
            source.seek(self._log_start)
            return source.read(_LONGEST_PRINTED).decode("utf-8", "replace")

    def cause(self) -> str:
        """Why it ended, in one line: its last exception, else its last error, else the last thing it said."""
        lines = [line.strip() for line in self.printed().splitlines() if line.strip()]
        for sign in (_EXCEPTION, _ERROR):
            found = [line for line in lines if sign.search(line)]
            if found:
                return found[-1]
        return lines[-1] if lines else "it said nothing"

    async def wait(self) -> int:
        """Wait for its end; return the exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def until_ready(self) -> bool:
        """Wait until it is ready; False if it ended or took too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.service.start_seconds):
                while self.exit_code is None:
                    if await self.service.is_ready(self):
                        return True
                    await asyncio.sleep(0.05)
        return False

    async def stop(self) -> None:
        """Ask it to end, wait as long as it may take, then end it and all it started."""
        if self._process is None:
            return
        try:
            if self._process.returncode is None:
                ask_to_stop(self._process.pid)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.service.stop_seconds):
                        await self._process.wait()
        finally:
            self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """End it and all it started, at once."""
        if self._process is not None:
            kill(self._process.pid)
