"""Sends a marked message, and waits until its row can be read."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from shared.messages import Lane
from shared.telemetry import Metrics

from .integration import Marked

__all__ = ["SyntheticTransaction"]

LOOK_SECONDS = 0.25


class SyntheticTransaction:
    """One lane at a time, the next one with each run.

    Parameters
    ----------
    send:
        Hands a message in as a client would; returns when it was accepted.
    row:
        The row that is shown under a key, or None.
    """

    def __init__(
        self,
        send: Callable[[Marked], Awaitable[None]],
        row: Callable[[str], Awaitable[Marked | None]],
        lanes: Sequence[Lane] = tuple(Lane),
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._send = send
        self._row = row
        self._lanes = tuple(lanes)
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._turn = 0
        self._last: dict[str, str] = {}

    async def run(self) -> Mapping[str, Any]:
        """Send a message and return when its row is there, with what the last run of each lane took.

        Whoever calls ends what takes too long; what fails is passed on.
        """
        lane = self._lanes[self._turn % len(self._lanes)]
        self._turn += 1
        marked = Marked(lane=lane, run=uuid4().hex, sent_at=self._now())
        began = self._clock()
        self._last[lane.value] = "no end"
        outcome = "lost"
        try:
            await self._send(marked)
            accepted = self._clock() - began
            while (found := await self._row(lane.value)) is None or found.run != marked.run:
                await self._sleep(LOOK_SECONDS)
            whole = self._clock() - began
            outcome = "done"
            Metrics.synthetic_duration.record(whole, lane=lane.value)
            self._last[lane.value] = f"{whole * 1_000:.0f}ms"
            return {"lane": lane.value, "accepted": f"{accepted * 1_000:.0f}ms", **self._figures()}
        finally:
            Metrics.synthetic_runs.add(lane=lane.value, outcome=outcome)

    def _figures(self) -> dict[str, str]:
        return {f"{lane}.last": took for lane, took in sorted(self._last.items())}
