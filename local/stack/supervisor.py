"""Keeps services running: starts them, starts again what dies, and stops all in the reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from local.stack.child import Child, Service
from local.stack.data_directory import DataDirectory

__all__ = ["StartFailed", "Supervisor", "restart_delay"]

_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0


class StartFailed(Exception):
    """A service did not get ready; `reason` is why, as far as it said so."""

    def __init__(self, name: str, exit_code: int | None, reason: str) -> None:
        ended = "is not ready in time" if exit_code is None else f"ended with exit code {exit_code}"
        super().__init__(f"{name} {ended}: {reason}")
        self.name = name
        self.exit_code = exit_code
        self.reason = reason


def restart_delay(failures: int) -> float:
    """Seconds to wait before the next start, after `failures` in a row."""
    return _DELAYS[min(failures, len(_DELAYS) - 1)]


class _Once:
    """Says the same thing once, however often it happens in a row."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        if text not in self._said:
            self._say(text)
            self._said.add(text)


class _Kept:
    """One service with its present run and the task that watches over it."""

    def __init__(self, service: Service, child: Child) -> None:
        self.service = service
        self.child = child
        self.watch: asyncio.Task[None] | None = None
        self.restart_now = asyncio.Event()
        self.reloading = False


class Supervisor:
    """Owns every child process of a stack."""

    def __init__(self, data: DataDirectory, say: Callable[[str], None]) -> None:
        self._data = data
        self._say = say
        self._kept: dict[str, _Kept] = {}

    async def start(self, services: Sequence[Service]) -> list[Child]:
        """Start `services` side by side, wait until all are ready, and keep them running from then on.

        Raises
        ------
        StartFailed
            If one of them does not get ready; what was started stays until `stop`.
        """
        started = [await self._spawn(service) for service in services]
        async with asyncio.TaskGroup() as group:
            ready = [group.create_task(child.until_ready()) for child in started]
        for child, answer in zip(started, ready, strict=True):
            if not answer.result():
                raise StartFailed(child.service.name, child.exit_code, child.cause())
        for child in started:
            kept = self._kept[child.service.name]
            kept.watch = asyncio.create_task(self._watch(kept), name=f"watch {child.service.name}")
        return started

    def replace(self, service: Service) -> None:
        """Use another command line for a running service from its next start on."""
        self._kept[service.name].service = service

    async def restart(self, names: Sequence[str]) -> None:
        """Start running services anew, one after the other, so that others of their kind go on serving."""
        for name in names:
            kept = self._kept[name]
            kept.reloading = True
            kept.restart_now.set()
            await kept.child.stop()

    async def stop(self) -> None:
        """Stop everything, the last started first; what was started together stops together."""
        for kept in self._kept.values():
            if kept.watch is not None:
                kept.watch.cancel()
        groups: dict[int, list[_Kept]] = {}
        for kept in self._kept.values():
            groups.setdefault(_rank(kept.service.name), []).append(kept)
        try:
            for rank in sorted(groups, reverse=True):
                await asyncio.gather(*(self._stop_one(kept) for kept in groups[rank]))
        finally:
            self.kill()

    def kill(self) -> None:
        """End every child at once."""
        for kept in self._kept.values():
            kept.child.kill()

    async def _stop_one(self, kept: _Kept) -> None:
        await kept.child.stop()
        self._note(kept.service.name, None, self._say)

    async def _spawn(self, service: Service) -> Child:
        child = Child(service, self._data.log(service.name))
        kept = self._kept.setdefault(service.name, _Kept(service, child))
        kept.child = child
        try:
            await child.start()
        except OSError as error:
            raise StartFailed(
                service.name, None, f"{error.filename or service.command[0]}: {error.strerror}"
            ) from error
        self._note(service.name, child.pid, self._say)
        return child

    async def _watch(self, kept: _Kept) -> None:
        """Start it again for as long as the stack runs, whatever keeps it from starting, such as a full disk."""
        failures = 0
        say = _Once(self._say)
        while True:
            began = time.monotonic()
            code = await kept.child.wait()
            self._note(kept.service.name, None, say)
            reloading, kept.reloading = kept.reloading, False
            if reloading or time.monotonic() - began > _STEADY_SECONDS:
                failures = 0
            if not reloading:
                what = f"{kept.service.name} ended ({_ending(code)})"
                if code > 0:
                    what += f": {kept.child.cause()}"
                say(f"{what}; starting it again")
                await self._pause(kept, restart_delay(failures))
                failures += 1
                kept.reloading = False
            kept.restart_now.clear()
            while (child := await self._spawned(kept, say)) is None:
                await self._pause(kept, restart_delay(failures))
                failures += 1
            if await child.until_ready():
                self._say(f"{kept.service.name} is ready again")
                say = _Once(self._say)
            elif child.exit_code is None:
                say(f"{kept.service.name} is not ready in time; starting it again")
                await child.stop()

    async def _spawned(self, kept: _Kept, say: _Once) -> Child | None:
        try:
            return await self._spawn(kept.service)
        except StartFailed as error:
            say(f"{error}; trying again")
            return None

    def _note(self, name: str, pid: int | None, say: Callable[[str], None]) -> None:
        """What can't be written down now is written with the next process."""
        try:
            self._data.note_process(name, pid)
        except OSError as error:
            say(f"{self._data.path} cannot be written: {error.strerror}; going on")

    async def _pause(self, kept: _Kept, seconds: float) -> None:
        """Wait before a start, but no longer than until a change of source asks for one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(kept.restart_now.wait(), seconds)


def _rank(name: str) -> int:
    """Hosts stop first, since they use the others; storage stops last, since all use it."""
    return {"azurite": 0, "emulator": 1, "identity": 1, "keyvault": 1}.get(name, 2)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
