"""Applies a log without a gap, though its trigger leaves some.

The Functions host checkpoints a batch when its retry policy is used up, whatever became of it: an event whose body the
binding can't take, or an outage that lasts longer, loses a whole batch. So the newest event up to which everything was
applied is kept for each partition, and what is missing before the next batch is read again from the log itself, and
applied first: every key's events stay in order.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from shared.telemetry import Metrics, log_event

from .event_log import EventLog, Extent, StreamEvent
from .positions import Position, Positions

__all__ = ["StreamConsumer"]

FIRST_START_EVENTS = 100_000
"""A consumer without a position begins at the log's oldest event, unless its first batch is further on than this: then
its group was there before positions were kept, and lost nothing."""
SECONDS = 60.0
"""A batch waits no longer for a gap to be closed: well below the function time-out."""
SETTLED = 120.0
"""Seconds for which what is missing is the trigger's: longer than its retry policy takes."""


@dataclass(frozen=True, slots=True)
class _Missing:
    """What a partition had beyond the position at a moment: the events after one number up to another."""

    after: int
    until: int
    since: float


class StreamConsumer:
    """One consumer group's way through the partitions of a hub.

    Parameters
    ----------
    name:
        Its name in metrics and logs.
    apply:
        Returns when all of these events were applied, or dead-lettered. Whatever it raises is an outage: the events
        come again. It has to be safe to apply an event again.
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self,
        name: str,
        apply: Callable[[Sequence[StreamEvent]], Awaitable[None]],
        positions: Positions,
        log: EventLog,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._apply = apply
        self._positions = positions
        self._log = log
        self._clock = clock
        self._known: dict[str, Position] = {}
        self._missing: dict[str, _Missing] = {}
        self._same_log_until = -inf

    async def deliver(self, events: Sequence[StreamEvent]) -> None:
        """Apply a batch of one partition, after everything that the log holds before it.

        Where that takes too long the batch is left alone: it is part of the gap, which the next call goes on closing.

        Raises
        ------
        LogUnavailable
            And whatever `apply` and the positions' table raise; what was applied until then is kept.
        """
        if not events:
            return
        partition, first, last = events[0].partition, events[0].sequence_number, events[-1].sequence_number
        if not partition or first < 0:  # invoked by hand: it is in no log
            await self._apply(events)
            return
        position = await self._position(partition, first)
        if position.sequence + 1 < first:
            position = await self._close(partition, position, before=first, until=self._clock() + SECONDS)
            if position.sequence + 1 < first:
                return
        await self._apply(events)
        if position.sequence < last:
            await self._advance(partition, position, last)

    async def close_gaps(self, time_left: Callable[[], float]) -> bool:
        """Apply what the trigger has left behind, where no batch of its own does; True if there is more.

        What is missing is closed only when nothing has moved since an earlier call: the trigger may be at it.

        Raises
        ------
        ExceptionGroup
            Some partitions' gaps could not be closed; the others were.
        """
        log = await self._log.identity()
        more = False
        failures: list[Exception] = []
        for partition in await self._log.partitions():
            try:
                more |= await self._close_gap(partition, log, time_left)
            except Exception as error:  # one partition's outage doesn't hold up the others
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"the gaps of {len(failures)} partitions couldn't be closed", failures)
        return more

    async def _close_gap(self, partition: str, log: str, time_left: Callable[[], float]) -> bool:
        stored, extent = await self._positions.get(partition), await self._log.extent(partition)
        position = self._begun(partition, stored, log, extent) or Position(sequence=extent.first - 1, log=log)
        seen = self._missing.get(partition)
        if seen is None or seen.after != position.sequence or seen.until <= position.sequence:
            self._missing[partition] = _Missing(position.sequence, extent.last, self._clock())
            return False
        is_old_group = stored is None and extent.last - extent.first >= FIRST_START_EVENTS
        if is_old_group or self._clock() - seen.since < SETTLED:
            return False
        if (left := time_left()) <= 0:
            return True
        position = await self._close(partition, position, before=seen.until + 1, until=self._clock() + left)
        if position.sequence < seen.until:
            self._missing[partition] = replace(seen, after=position.sequence)
            return True
        return False

    async def _position(self, partition: str, first: int) -> Position:
        """Up to where everything before a batch was applied: known, or looked up where the batch doesn't follow on."""
        known = self._known.get(partition)
        if known is not None and (known.sequence + 1 == first or self._is_redelivery(known, first)):
            return known
        stored = await self._positions.get(partition)
        if stored is not None and stored.sequence + 1 == first:
            return stored
        log = await self._log.identity()
        if stored is not None and stored.log == log and stored.sequence + 1 >= first:
            self._known[partition], self._same_log_until = stored, self._clock() + SECONDS
            return stored
        extent = await self._log.extent(partition)
        position = self._begun(partition, stored, log, extent)
        if position is not None:
            return position
        oldest = extent.first if first - extent.first < FIRST_START_EVENTS else first
        return Position(sequence=min(oldest, first) - 1, log=log)

    def _is_redelivery(self, known: Position, first: int) -> bool:
        """Events before the position, as when a checkpoint was reset, in what was the same log a moment ago."""
        return first <= known.sequence and self._clock() < self._same_log_until

    def _begun(self, partition: str, stored: Position | None, log: str, extent: Extent) -> Position | None:
        """A stored position in the log as it is now; the beginning of a log that was made anew since it was stored."""
        if stored is None or (stored.log == log and stored.sequence <= extent.last):
            return stored
        log_event("stream log made anew", level=logging.WARNING, consumer=self._name, partition=partition)
        return Position(sequence=extent.first - 1, log=log, etag=stored.etag)

    async def _advance(self, partition: str, position: Position, sequence: int) -> Position:
        self._known[partition] = await self._positions.advance(partition, position, sequence)
        return self._known[partition]

    async def _close(self, partition: str, position: Position, *, before: int, until: float) -> Position:
        """Apply what the log holds between a position and a number, as far as there is time."""
        where: dict[str, Any] = {"consumer": self._name, "partition": partition, "after": position.sequence}
        extent = await self._log.extent(partition)
        if extent.first > position.sequence + 1:
            gone = min(extent.first, before) - 1
            log_event("stream events expired", level=logging.ERROR, **where, until=gone)
            Metrics.stream_events.add(gone - position.sequence, consumer=self._name, outcome="expired")
            position = await self._advance(partition, position, gone)
        if position.sequence + 1 < before:
            async with aclosing(self._log.read(partition, after=position.sequence)) as chunks:
                async for chunk in chunks:
                    if missing := [event for event in chunk if event.sequence_number < before]:
                        await self._apply(missing)
                    position = await self._advance(partition, position, min(chunk[-1].sequence_number, before - 1))
                    if position.sequence + 1 >= before or self._clock() >= until:
                        break
        if position.sequence + 1 >= before:
            log_event("stream gap closed", level=logging.WARNING, **where, until=position.sequence)
        else:
            log_event("stream gap open", level=logging.WARNING, **where, until=position.sequence)
        return position
