"""Applies the log to one version of one view, behind positions of its own: whoever calls it, nothing is left out.

Events come from what is kept beyond the log (bronze) as long as that has more, then from the log itself.
"""

import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from shared.streams import EventLog, Extent, LogUnavailable, Position, Positions, StreamEvent

__all__ = ["Applied", "History", "VersionFeed"]

BATCH, BATCH_BYTES = 2_000, 8 * 1024 * 1024
"""Events, and bytes of them, that are applied at once: so many of a view's rows share a transaction."""
FAR = 1_000
"""What is less far from the end is read from the log, which has it sooner than files do."""
GAP_SECONDS = 20.0
"""A batch of the live projection waits no longer for what a version lacks before it: it comes again."""

Apply = Callable[[Sequence[StreamEvent]], Awaitable[int]]
"""Applies events of one partition in order, and returns how many nobody can project; again does no harm."""


class History(Protocol):
    """Events that are kept beyond the log."""

    def read(self, partition: str, *, after: int, log: str) -> AsyncGenerator[list[StreamEvent], None]:
        """The events after a number of a log's partition, in order, some at a time; ends where it has no more."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """How far a partition is, and what became of it on the way.

    Attributes
    ----------
    sequence:
        Everything up to this number was applied.
    missing_before:
        The first event that there was, where events before it are gone.
    """

    sequence: int
    events: int = 0
    skipped: int = 0
    missing_before: int | None = None


class VersionFeed:
    """One version's way through the partitions of a hub.

    Parameters
    ----------
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self,
        apply: Apply,
        positions: Positions,
        log: EventLog,
        history: History | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._apply = apply
        self._positions = positions
        self._log = log
        self._history = history
        self._clock = clock
        self._known: dict[str, Position] = {}

    async def deliver(self, events: Sequence[StreamEvent]) -> None:
        """Apply a batch of one partition after everything before it, as the live projection does with its own.

        Raises
        ------
        LogUnavailable
            What is missing before the batch isn't applied yet: nothing of the batch is, and it comes again.
        """
        if not events or not events[0].partition or events[0].sequence_number < 0:
            return
        partition, first, last = events[0].partition, events[0].sequence_number, events[-1].sequence_number
        position = self._known.get(partition)
        if position is None or position.sequence + 1 != first:  # also where it seems known: the log may be another one
            until = self._clock() + GAP_SECONDS
            await self.catch_up(partition, first - 1, time_left=lambda: until - self._clock())
            position = self._known[partition]
            if position.sequence + 1 < first:
                raise LogUnavailable(f"a version of a view is behind in partition {partition}: {position.sequence}")
        await self._apply(events)
        if position.sequence < last:
            self._known[partition] = await self._positions.advance(partition, position, last)

    async def catch_up(self, partition: str, until: int, *, time_left: Callable[[], float]) -> Applied:
        """Apply what there is up to a sequence number, as far as there is time (seconds).

        Raises
        ------
        LogUnavailable
            And whatever `apply`, the history and the positions' table raise; what was applied until then is kept.
        """
        position = self._known[partition] = await self._position(partition)
        found = Applied(sequence=position.sequence)
        extent = await self._log.extent(partition)
        until = min(until, extent.last)
        if self._history is not None and (found.sequence + FAR < until or found.sequence + 1 < extent.first):
            kept = self._history.read(partition, after=found.sequence, log=position.log)
            found = await self._take(partition, kept, found, until, time_left, kept_from=extent.first)
        if found.sequence < until and time_left() > 0:
            found = await self._skip(partition, found, extent, until)
            found = await self._take(
                partition, self._log.read(partition, after=found.sequence), found, until, time_left
            )
        return found

    async def _position(self, partition: str) -> Position:
        stored, identity = await self._positions.get(partition), await self._log.identity()
        if stored is None or stored.log != identity:  # of a log that was made anew since: its numbers begin again
            return Position(sequence=-1, log=identity, etag=None if stored is None else stored.etag)
        return stored

    async def _skip(self, partition: str, found: Applied, extent: Extent, until: int) -> Applied:
        """Go over what neither history nor log has any more."""
        if extent.first <= found.sequence + 1:
            return found
        gone = min(extent.first - 1, until)
        await self._advance(partition, gone)
        return Applied(sequence=gone, events=found.events, skipped=found.skipped, missing_before=extent.first)

    async def _take(
        self,
        partition: str,
        source: AsyncGenerator[list[StreamEvent], None],
        found: Applied,
        until: int,
        time_left: Callable[[], float],
        *,
        kept_from: int | None = None,
    ) -> Applied:
        """Apply what a source has; it is left at a gap of which the log, from `kept_from` on, has some."""
        waiting: list[StreamEvent] = []
        size = 0
        async with aclosing(source) as chunks:
            async for chunk in chunks:
                for event in chunk:
                    last = waiting[-1].sequence_number if waiting else found.sequence
                    if kept_from is not None and max(last + 1, kept_from) < event.sequence_number:
                        return await self._applied(partition, waiting, found)
                    if last < event.sequence_number <= until:
                        waiting.append(event)
                        size += len(event.body)
                is_end = bool(chunk) and chunk[-1].sequence_number >= until
                if len(waiting) >= BATCH or size >= BATCH_BYTES or is_end:
                    found, waiting, size = await self._applied(partition, waiting, found), [], 0
                    if is_end or time_left() <= 0:
                        return found
        return await self._applied(partition, waiting, found)

    async def _applied(self, partition: str, events: Sequence[StreamEvent], found: Applied) -> Applied:
        if not events:
            return found
        skipped = await self._apply(events)
        missing = found.missing_before
        numbers = [found.sequence, *(event.sequence_number for event in events)]
        for before, after in itertools.pairwise(numbers):
            if before + 1 < after:
                missing = after
        await self._advance(partition, events[-1].sequence_number)
        return Applied(
            sequence=events[-1].sequence_number,
            events=found.events + len(events),
            skipped=found.skipped + skipped,
            missing_before=missing,
        )

    async def _advance(self, partition: str, sequence: int) -> None:
        self._known[partition] = await self._positions.advance(partition, self._known[partition], sequence)

    async def close(self) -> None:
        """Close the positions' table."""
        await self._positions.close()
