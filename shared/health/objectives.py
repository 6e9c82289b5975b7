"""Objectives: how fast their error budgets are spent, from what was counted."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .check import Degraded

__all__ = ["Burn", "Objectives"]

HOUR = 3_600.0
WINDOWS = {"1h": HOUR, "6h": 6 * HOUR}
ALLOWED = {"1h": 14.4, "6h": 6.0}
"""Above these a month's budget is gone in two days, and in five ("The Site Reliability Workbook", chapter 5)."""
EVERY_SECONDS = 60.0
FEWEST = 10

Counts = Mapping[str, tuple[float, float]]
"""By name: how many met the objective so far, and how many didn't."""


@dataclass(frozen=True, slots=True)
class Burn:
    """One objective over one window.

    Attributes
    ----------
    share:
        Of those that ended, the part that met it, from 0 to 1; 1 where none ended.
    missed:
        How many didn't.
    rate:
        How many times faster than allowed the budget is spent.
    seconds:
        What the window really covers: less than it should after a start.
    """

    share: float
    missed: float
    rate: float
    seconds: float

    def is_too_fast(self, allowed: float) -> bool:
        """Whether more is spent than allowed; a few misses among few messages say nothing."""
        return self.rate > allowed and self.missed >= FEWEST


class Objectives:
    """Remembers counts once a minute, for six hours.

    Parameters
    ----------
    read:
        What was counted since the start.
    target:
        The share that is to meet the objective, such as 0.999.
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self, read: Callable[[], Counts], *, target: float = 0.999, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0 < target < 1:
            raise ValueError(f"an objective of {target!r}: use a share above 0 and below 1")
        self._read = read
        self._budget = 1 - target
        self._clock = clock
        self._kept: deque[tuple[float, Counts]] = deque([(clock(), {})])

    def burns(self) -> dict[str, dict[str, Burn]]:
        """By name and window, of all that was counted so far."""
        now, counts = self._clock(), dict(self._read())
        found = {
            name: {window: self._burn(name, counts[name], now, seconds) for window, seconds in WINDOWS.items()}
            for name in sorted(counts)
        }
        if now - self._kept[-1][0] >= EVERY_SECONDS:
            self._kept.append((now, counts))
        while len(self._kept) > 1 and self._kept[1][0] <= now - WINDOWS["6h"]:
            self._kept.popleft()
        return found

    def _burn(self, name: str, counts: tuple[float, float], now: float, seconds: float) -> Burn:
        """Against the newest counts that are as old as the window, or the oldest there are."""
        at, before = self._kept[0]
        for kept_at, kept in self._kept:
            if kept_at > now - seconds:
                break
            at, before = kept_at, kept
        met, missed = (max(0.0, a - b) for a, b in zip(counts, before.get(name, (0.0, 0.0)), strict=True))
        share = met / (met + missed) if met + missed else 1.0
        return Burn(share=share, missed=missed, rate=(1 - share) / self._budget, seconds=now - at)

    async def ask(self) -> Mapping[str, Any]:
        """As a probe: degraded where a budget is spent too fast.

        Raises
        ------
        Degraded
        """
        found = self.burns()
        figures = {
            name: {
                **{window: f"{one.share:.3%}" for window, one in burns.items()},
                **{f"burn{window}": round(one.rate, 2) for window, one in burns.items()},
                "since": f"{burns['6h'].seconds / 60:.0f}min",
            }
            for name, burns in found.items()
        }
        fast = [name for name, burns in found.items() if any(burns[one].is_too_fast(ALLOWED[one]) for one in WINDOWS)]
        if fast:
            raise Degraded(f"The error budget is spent too fast on {', '.join(fast)}.", figures)
        return figures
