"""What goes wrong in a drill, and when: drawn from a seed, so that a drill can be repeated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

__all__ = ["Fault", "Kind", "plan", "strike"]

_FIRST, _LAST = 0.03, 0.9
_WAIT_SECONDS = 120.0
_LOOK_SECONDS = 0.1


class Kind(StrEnum):
    """A way to go wrong."""

    HOST_KILLED = "host killed"
    EMULATOR_KILLED = "emulator killed"
    STORAGE_STOPPED = "storage stopped"
    STORAGE_FROZEN = "storage frozen"


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    at:
        Share of the work that is done by then: it strikes while there is still work to lose.
    target:
        The name of the process in the stack's list.
    seconds:
        How long a frozen process stays frozen.
    """

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0


def plan(*, kills: int, instances: int, chance: Random) -> list[Fault]:
    """`kills` hosts killed, and for each ten of them three emulators killed, three storages stopped, three frozen."""
    others = max(1, round(kills * 0.3)) if kills else 0
    kinds = [Kind.HOST_KILLED] * kills
    for kind in (Kind.EMULATOR_KILLED, Kind.STORAGE_STOPPED, Kind.STORAGE_FROZEN):
        kinds += [kind] * others
    chance.shuffle(kinds)
    moments = sorted(chance.uniform(_FIRST, _LAST) for _ in kinds)
    return [_fault(moment, kind, instances, chance) for moment, kind in zip(moments, kinds, strict=True)]


def _fault(at: float, kind: Kind, instances: int, chance: Random) -> Fault:
    match kind:
        case Kind.HOST_KILLED:
            return Fault(at, kind, f"host-{chance.randrange(instances)}")
        case Kind.EMULATOR_KILLED:
            return Fault(at, kind, "emulator")
        case Kind.STORAGE_STOPPED:
            return Fault(at, kind, "azurite")
        case Kind.STORAGE_FROZEN:
            return Fault(at, kind, "azurite", chance.uniform(1.0, 6.0))


async def strike(fault: Fault, processes: Path, say: Callable[[str], None]) -> None:
    """Do it to the process that the stack's own list names; wait for one that is just being started again.

    Storage is asked to stop, since Azurite forgets up to five seconds of acknowledged writes when it is killed, which
    the cloud's storage never does. Everything else is ours, and is killed.

    Raises
    ------
    TimeoutError
        The stack has no such process, and starts none.
    """
    number = await _pid(fault.target, processes)
    match fault.kind:
        case Kind.HOST_KILLED | Kind.EMULATOR_KILLED:
            _signal(number, signal.SIGKILL)
            say(f"killed {fault.target}")
        case Kind.STORAGE_STOPPED:
            _signal(number, signal.SIGTERM)
            say("stopped storage")
        case Kind.STORAGE_FROZEN:
            say(f"froze storage for {fault.seconds:.1f} s")
            _signal(number, signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                _signal(number, signal.SIGCONT)


async def _pid(name: str, processes: Path) -> int:
    async with asyncio.timeout(_WAIT_SECONDS):
        while True:
            found = _listed(processes)
            if name in found:
                return found[name]
            await asyncio.sleep(_LOOK_SECONDS)


def _listed(processes: Path) -> dict[str, int]:
    """The stack's list, which it replaces as a whole: it is never half written."""
    found: dict[str, int] = json.loads(processes.read_text(encoding="utf-8"))
    return found


def _signal(number: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it went by itself
        os.kill(number, what)
