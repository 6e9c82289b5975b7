"""Usage: what each client used on each day, counted in memory and written every few seconds.

A process that is killed forgets what it counted since it last wrote: requests of `FLUSH_SECONDS` at most, in the
client's favour. Quotas don't depend on it: they are leased before they are used.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.telemetry import log_event

from .plans import Plan, Plans

__all__ = ["FLUSH_SECONDS", "Counts", "Usage", "UsageMeter", "UsageStore", "invoiced"]

FLUSH_SECONDS = 10.0
MOST_COUNTED = 20_000
"""Client-days that are counted at once: what comes beyond is counted when there is room again, under nobody."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that passed, messages that were accepted, and bytes of bodies both ways."""

    requests: int = 0
    messages: int = 0
    size: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.requests + other.requests, self.messages + other.messages, self.size + other.size)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a client used on a day under a plan."""

    day: date
    client: str
    plan: str
    counts: Counts


class UsageStore(Protocol):
    """Where usage is kept."""

    async def add(self, day: date, client: str, plan: str, counts: Counts, *, flush: str) -> None:
        """Add to a client's day, once for each name of a flush: one whose outcome is unknown is sent again."""
        ...

    def read(self, first: date, last: date, client: str | None) -> AsyncIterator[Usage]:
        """The usage of some days, the last included; of one client, or of all."""
        ...


_Flush = tuple[tuple[date, str, str], Counts, str]


class UsageMeter:
    """Counts what this instance lets pass.

    Parameters
    ----------
    instance:
        A name of this process that no other has.
    """

    def __init__(self, store: UsageStore, *, instance: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._instance = instance
        self._now = now
        self._counted: dict[tuple[date, str, str], list[int]] = {}
        self._unsure: _Flush | None = None
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    def add(self, client: str, plan: Plan, *, messages: int, size: int) -> None:
        """Count one request; to be called on the event loop."""
        key = (self._now().date(), client, plan.name)
        if key not in self._counted and len(self._counted) >= MOST_COUNTED:
            key = (key[0], "", "")
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = [0, 0, 0]
        counted[0] += 1
        counted[1] += messages
        counted[2] += size
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="usage", context=Context())

    async def _run(self) -> None:
        """Write every few seconds while there is something to write: an idle process isn't kept awake."""
        while self._counted or self._unsure is not None:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was counted; what can't be written now is kept for the next time, in no more room than before."""
        async with self._flushing:
            if self._unsure is not None and not await self._write(self._unsure):
                return
            for key in list(self._counted):
                self._number += 1
                self._unsure = (key, Counts(*self._counted.pop(key)), f"{self._instance}.{self._number}")
                if not await self._write(self._unsure):
                    return

    async def _write(self, one: "_Flush") -> bool:
        """Whether it is written now; where that isn't known, it is sent again under its name."""
        key, counts, flush = one
        try:
            await self._store.add(*key, counts, flush=flush)
        except Exception as failure:
            log_event("usage not written", level=logging.WARNING, error=failure, entries=1 + len(self._counted))
            return False
        self._unsure = None
        return True

    async def close(self) -> None:
        """Write what is left, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()


def invoiced(usage: Sequence[Usage], plans: Plans) -> list[tuple[Usage, Decimal, str]]:
    """Usage with its amount and currency by the prices of its plan; a plan that is no more costs nothing."""
    found = []
    for one in usage:
        plan = plans.plans.get(one.plan)
        if plan is None:
            found.append((one, Decimal(0), ""))
            continue
        counts = one.counts
        amount = plan.prices.amount(requests=counts.requests, messages=counts.messages, size=counts.size)
        found.append((one, amount, plan.prices.currency))
    return found
