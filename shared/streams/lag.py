"""How far a consumer is behind its log."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .event_log import EventLog
from .positions import Positions

__all__ = ["Lag", "LagWatch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """A consumer's distance from the end of its log.

    Attributes
    ----------
    events:
        By partition: what came in and wasn't dealt with yet.
    stuck:
        Seconds for which the partition that stands longest hasn't moved though it is behind; 0 where none is.
    """

    events: dict[str, int]
    stuck: float

    @property
    def total(self) -> int:
        """Of all partitions."""
        return sum(self.events.values())


class LagWatch:
    """Compares a consumer's positions with the log, and remembers since when each stands.

    Parameters
    ----------
    clock:
        Seconds that only ever grow.
    """

    def __init__(self, positions: Positions, log: EventLog, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._positions = positions
        self._log = log
        self._clock = clock
        self._standing: dict[str, tuple[int, float]] = {}

    async def look(self) -> Lag:
        """The lag now; raises LogUnavailable, and what the positions' table raises."""
        identity, now = await self._log.identity(), self._clock()
        behind, stuck = {}, 0.0
        for partition, extent in (await self._log.extents()).items():
            stored = await self._positions.get(partition)
            begun = stored.sequence if stored is not None and stored.log == identity else extent.first - 1
            behind[partition] = max(0, extent.last - max(begun, extent.first - 1))
            if behind[partition] == 0:
                self._standing.pop(partition, None)
                continue
            if (seen := self._standing.get(partition)) is None or seen[0] != begun:
                self._standing[partition] = (begun, now)
            stuck = max(stuck, now - self._standing[partition][1])
        return Lag(events=behind, stuck=stuck)

    async def close(self) -> None:
        """Close the positions' table."""
        await self._positions.close()
