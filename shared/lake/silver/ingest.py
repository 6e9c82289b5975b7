"""Brings events into the silver tables exactly once: each table knows by itself up to where it has them.

A batch holds everything of some partitions after one sequence number up to another. What doesn't fit is committed to
quarantine first, then the tables of nested lists, last the table with a row for each event: where a run ends in
between, the last one's watermark says what is to be read again, and each of the others what of it it has already.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from shared.lake.tables import (
    Advance,
    Committer,
    IncompatibleSchema,
    LakeError,
    LakeStore,
    Layer,
    Retention,
    WatermarkMoved,
)
from shared.messages import MessageError
from shared.privacy import encrypted_key_ids
from shared.streams import StreamEvent
from shared.telemetry import log_event

from .duplicates import known_ids
from .quarantine import Misplaced, quarantine_schema, quarantined
from .reading import ReadEvent, arrow_table, read_event
from .tables import DAY, SilverLine, SilverTable, envelope_of
from .types import Misfit

if TYPE_CHECKING:
    from arro3.core import Schema

__all__ = ["UNREADABLE", "Applied", "EventSource", "SilverIngest", "or_less"]

UNREADABLE = "unreadable"
"""The quarantine of what is no event at all."""
BATCH_EVENTS, BATCH_BYTES = 20_000, 32 * 1024 * 1024
"""Of one commit to each table: what is in memory at once."""
IDLE_EVENTS = 10_000
"""Events of others after which a table's watermark moves though it has no new row: they are read again until then."""
SECONDS_LEFT = 30.0
"""A batch isn't begun with less time."""
SETTLED = timedelta(minutes=30)
"""Of an older event the person may have been erased before it came here."""
_MOVES = 5


class EventSource(Protocol):
    """The log of events, as far as it is kept."""

    async def partitions(self) -> Sequence[str]:
        """Names of its partitions."""
        ...

    def read(self, partition: str, *, after: int | None) -> AsyncGenerator[Sequence[StreamEvent], None]:
        """The events after a sequence number in order, some at a time, until there are no more."""
        ...


@dataclass(slots=True)
class Applied:
    """What became of the events of some batches.

    Attributes
    ----------
    rows:
        By silver table: rows that were added.
    duplicates, quarantined:
        Events that were there already, and events that don't fit.
    failed:
        By table, or as `log/<partition>`: why nothing more could be committed to it, or read.
    """

    events: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    quarantined: int = 0
    failed: dict[str, Exception] = field(default_factory=dict)


_Made = tuple[ReadEvent, list[list[bytes]]]
"""An event and its rows in each table of its line."""


@dataclass(slots=True)
class _Batch:
    """A batch, sorted by line; `upto` has the last sequence number of each partition."""

    events: int
    upto: dict[str, int] = field(default_factory=dict)
    of_line: dict[tuple[str, str], list[ReadEvent]] = field(default_factory=dict)
    rows: dict[tuple[str, str], list[_Made]] = field(default_factory=dict)
    misplaced: dict[str, list[Misplaced]] = field(default_factory=dict)


class SilverIngest:
    """The committers of all silver tables; for one run of a job, since their handles serve for minutes.

    Parameters
    ----------
    log:
        Names the hub in watermarks; another log under the same partitions needs another name.
    erased:
        Which of some keys of persons were erased.
    prefix:
        Of the names of the tables, while they are built anew beside those that are read.
    """

    def __init__(
        self,
        store: LakeStore,
        lines: Sequence[SilverLine],
        *,
        log: str,
        retention: Retention,
        now: Callable[[], datetime],
        erased: Callable[[Collection[str]], Awaitable[frozenset[str]]] | None = None,
        prefix: str = "",
    ) -> None:
        self._store = store
        self._lines = {(line.event_type, line.line): line for line in lines}
        self._latest = {line.event_type: line for line in lines}
        self._log = log
        self._retention = retention
        self._idle_events = 0 if prefix else IDLE_EVENTS  # built anew it must be as far as what it replaces
        self._now = now
        self._erased = erased
        self._prefix = prefix
        self._committers: dict[tuple[Layer, str], Committer] = {}
        self._seen: dict[str, dict[str, int]] = {}

    async def catch_up(self, source: EventSource, time_left: Callable[[], float]) -> tuple[Applied, bool]:
        """Apply what the log has after the watermarks; True: there is more, and no time.

        Raises
        ------
        LakeUnavailable, CommitConflict
            What was committed until then stays.
        """
        applied = Applied()
        partitions = list(await source.partitions())
        positions = await self.positions(partitions, applied)
        streams = {one: source.read(one, after=positions[one]) for one in partitions}
        committing: asyncio.Task[None] | None = None
        try:
            while streams:
                if time_left() < SECONDS_LEFT:
                    return applied, True
                events = await _next_batch(streams, applied)
                batch = await self._prepared(events)
                if committing is not None:
                    await committing
                committing = asyncio.create_task(self._commit_batch(batch, applied))
        finally:
            for stream in streams.values():
                await stream.aclose()
            if committing is not None:
                await committing
        return applied, False

    async def positions(self, partitions: Sequence[str], applied: Applied) -> dict[str, int | None]:
        """Up to where every table has everything; one that can't be written doesn't hold up the others."""
        found: dict[str, list[int | None]] = {one: [] for one in partitions}
        for line in self._lines.values():
            try:
                marks = [await self._marks(self.committer(table), table.name, partitions) for table in line.tables]
            except IncompatibleSchema as error:
                applied.failed[line.root.name] = error
                continue
            for one in partitions:
                found[one] += [own[self.app_id(one)] for own in marks]
        return {one: _least(marks) for one, marks in found.items()}

    async def _prepared(self, events: Sequence[StreamEvent]) -> _Batch:
        """Events as rows; in a thread, while the batch before is committed."""
        batch = await asyncio.to_thread(self._sort, events)
        erased = await self._erased_keys(batch)
        await asyncio.to_thread(self._make_rows, batch, erased)
        return batch

    async def _commit_batch(self, batch: _Batch, applied: Applied) -> None:
        """Of each partition the batch has everything after its tables' watermarks up to its last event."""
        applied.events += batch.events
        if misplaced := batch.misplaced.get(UNREADABLE):
            await self._quarantine(UNREADABLE, misplaced, batch, applied)
        for key, line in self._lines.items():
            if line.root.name in applied.failed:
                continue
            try:
                await self._commit_line(line, batch.rows.get(key, []), batch, applied)
            except IncompatibleSchema as error:
                applied.failed[line.root.name] = error
                log_event("a silver table can't be written", level=40, table=error.table, reason=error.reason)

    async def _commit_line(self, line: SilverLine, made: Sequence[_Made], batch: _Batch, applied: Applied) -> None:
        if misplaced := batch.misplaced.get(line.quarantine):
            await self._quarantine(line.quarantine, misplaced, batch, applied)
        marks = await self._marks(self.committer(line.root), line.root.name, list(batch.upto))
        if not made and not any(
            last - or_less(marks[self.app_id(one)]) > self._idle_events for one, last in batch.upto.items()
        ):
            return
        for number in reversed(range(len(line.tables))):  # the table of events comes last
            rows = [(one, own[number]) for one, own in made if own[number]]
            await self._commit(line.tables[number], rows, batch.upto, applied, is_root=number == 0)

    def _make_rows(self, batch: _Batch, erased: frozenset[str]) -> None:
        for key, read in batch.of_line.items():
            line = self._lines[key]
            made = batch.rows[key] = []
            for one in read:
                try:
                    made.append((one, [list(table.rows(one.data, erased)) for table in line.tables]))
                except Misfit as error:
                    place = Misplaced.of(one.received, one.event, str(error))
                    batch.misplaced.setdefault(line.quarantine, []).append(place)

    async def _commit(
        self,
        table: SilverTable,
        made: Sequence[tuple[ReadEvent, Sequence[bytes]]],
        upto: Mapping[str, int],
        applied: Applied,
        *,
        is_root: bool,
    ) -> None:
        committer = self.committer(table)
        for _ in range(_MOVES):
            marks = await self._marks(committer, table.name, list(upto))
            advances = self._advances(marks, upto)
            if not advances:
                return
            new = [(one, own) for one, own in made if _is_new(one, marks[self.app_id(one.received.partition)])]
            known = await known_ids(self._store, table.name, await committer.table(), [one.event for one, _ in new])
            lines: list[bytes] = []
            duplicates = 0
            for one, own in new:
                if one.event.id in known:
                    duplicates += 1
                    continue
                known.add(one.event.id)
                envelope = envelope_of(one.event, one.received)
                lines += [b"{%b,%b}" % (envelope, row) if row else b"{%b}" % envelope for row in own]
            try:
                await committer.append(arrow_table(lines, table.schema()), advances)
            except WatermarkMoved:
                continue
            self._seen[table.name] |= {one.app_id: one.upto for one in advances}
            applied.rows[table.name] = applied.rows.get(table.name, 0) + len(lines)
            if is_root:
                applied.duplicates += duplicates
            return
        raise LakeError(f"{Layer.SILVER}.{table.name}", "its watermarks keep moving: somebody else commits to it")

    async def _quarantine(self, name: str, misplaced: Sequence[Misplaced], batch: _Batch, applied: Applied) -> None:
        committer = self.quarantine(name)
        for _ in range(_MOVES):
            marks = await self._marks(committer, f"quarantine.{name}", list(batch.upto))
            new = [one for one in misplaced if one.sequence > or_less(marks[self.app_id(one.partition)])]
            if not new:
                return
            try:
                await committer.append(quarantined(new), self._advances(marks, batch.upto))
            except WatermarkMoved:
                continue
            applied.quarantined += len(new)
            log_event("events don't fit the lake", level=30, table=f"quarantine.{name}", events=len(new),
                      reason=new[0].reason)  # fmt: skip
            return

    def _sort(self, events: Sequence[StreamEvent]) -> _Batch:
        batch = _Batch(len(events))
        for received in events:
            batch.upto[received.partition] = received.sequence_number
            try:
                one = read_event(received)
            except MessageError as error:
                batch.misplaced.setdefault(UNREADABLE, []).append(Misplaced.of(received, None, error.message))
                continue
            latest = self._latest.get(one.event.type)
            if latest is None:
                continue  # nobody keeps it as rows
            key = (one.event.type, one.event.version.partition(".")[0])
            if key in self._lines:
                batch.of_line.setdefault(key, []).append(one)
            else:
                reason = f"no version like {one.event.version[:64]!r} is declared"
                batch.misplaced.setdefault(latest.quarantine, []).append(Misplaced.of(received, one.event, reason))
        return batch

    async def _erased_keys(self, batch: _Batch) -> frozenset[str]:
        """Of the keys of persons in events that took their time: those that were erased meanwhile."""
        if self._erased is None:
            return frozenset()
        settled = self._now() - SETTLED
        old = [one for read in batch.of_line.values() for one in read if one.event.time < settled]
        keys = {key for one in old for key in encrypted_key_ids(one.received.body.decode()) if "~" in key}
        return await self._erased(keys) if keys else frozenset()

    def _advances(self, marks: Mapping[str, int | None], upto: Mapping[str, int]) -> list[Advance]:
        ids = {self.app_id(partition): last for partition, last in upto.items()}
        return [Advance(one, marks[one], last) for one, last in ids.items() if last > or_less(marks[one])]

    async def _marks(self, committer: Committer, name: str, partitions: Sequence[str]) -> dict[str, int | None]:
        """Up to where a table has everything; raises LakeError where that was further a moment ago."""
        marks = await committer.watermarks([self.app_id(one) for one in partitions])
        seen = self._seen.setdefault(name, {})
        for app_id, mark in marks.items():
            if or_less(mark) < seen.get(app_id, -1):
                raise LakeError(name, "its watermarks went back: somebody else rebuilds or restores it")
            seen[app_id] = or_less(mark)
        return marks

    def quarantine(self, name: str) -> Committer:
        """The committer of a quarantine."""
        return self._made(Layer.QUARANTINE, name, quarantine_schema(), ())

    def app_id(self, partition: str) -> str:
        """The application id of a partition's watermark."""
        return f"{self._log}/{partition}"

    def committer(self, table: SilverTable) -> Committer:
        """The committer of a table."""
        return self._made(Layer.SILVER, table.name, table.schema(), (DAY,))

    def _made(self, layer: Layer, name: str, schema: "Schema", partition_by: Sequence[str]) -> Committer:
        if (layer, name) not in self._committers:
            self._committers[layer, name] = Committer(
                self._store,
                layer,
                f"{self._prefix}{name}",
                schema,
                partition_by=partition_by,
                configuration=self._retention.configuration,
            )
        return self._committers[layer, name]


async def _next_batch(
    streams: dict[str, AsyncGenerator[Sequence[StreamEvent], None]], applied: Applied
) -> list[StreamEvent]:
    """Some events of each partition; a stream that has no more, or can't be read on, is taken away."""
    events: list[StreamEvent] = []
    size, share = 0, BATCH_EVENTS // len(streams)
    for partition in list(streams):
        begun = len(events)
        while len(events) - begun < share and size < BATCH_BYTES:
            try:
                more = await anext(streams[partition], None)
            except Exception as error:  # the other partitions go on
                applied.failed[f"log/{partition}"] = error
                log_event("a partition of the lake's log can't be read", level=40, partition=partition, error=error)
                more = None
            if more is None:
                await streams.pop(partition).aclose()
                break
            events += more
            size += sum(len(one.body) for one in more)
    return events


def _is_new(one: ReadEvent, mark: int | None) -> bool:
    return one.received.sequence_number > or_less(mark)


def or_less(mark: int | None) -> int:
    """A watermark as a number to compare: none is less than each."""
    return -1 if mark is None else mark


def _least(marks: Sequence[int | None]) -> int | None:
    known = [one for one in marks if one is not None]
    return min(known) if known and len(known) == len(marks) else None
