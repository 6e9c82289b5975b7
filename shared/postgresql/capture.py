"""Captures a database's changes: look at the slot, send what is new, keep the position, let the server forget.

Each step may be the last of a process: what is sent again is the same, under the same position; a position is written
when everything up to it is sent; the slot is advanced to what is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import KW_ONLY, dataclass, field, replace

from shared.resilience import SharedRow, Snapshot
from shared.telemetry import log_event

from .errors import DecodingTooSlow, SlotInUse, SlotLost, SlotMoved
from .progress import Progress, TableRead, lsn_text
from .server import PEEK_CHANGES, Page, Session
from .stream import ChangeRecord, ChangeStream, Database, row_change
from .values import converter

__all__ = ["Capturing", "Overtaken", "Send"]

SEND_CHANGES = 500
SEND_BYTES = 1 << 20
SPARE = 10.0
"""Seconds left of a run with which nothing is begun any more."""
LOOK_AGAIN = 0.2
"""Seconds between two looks at an idle log: one short query."""
IDLE_ADVANCE = 10.0
"""Seconds after which the slot of idle tables follows the log, which others fill: nothing is written for that."""

Send = Callable[[Sequence[ChangeRecord]], Awaitable[None]]
"""Sends changes in their order; they are kept when it returns. Some of them may have been sent before."""


class Overtaken(Exception):
    """Another instance, or an operator, wrote the position meanwhile: what it says counts."""


@dataclass
class Capturing:
    """One run over one database.

    Parameters
    ----------
    source:
        The name that changes carry; slot and publication have it too unless they are given.
    tables:
        `schema.name` of each.
    database:
        Its name on the server.
    row:
        Where the position is kept.
    time_left:
        Seconds of the run.
    follow:
        Wait for changes until the time is up; without, end at the end of the log.
    named:
        By table, the spellings of the column that names the aggregate of its changes; see `Session.keys`.
    handles:
        Whether messages with a prefix are handled: others are passed over.
    """

    source: str
    tables: Sequence[str]
    database: str
    open: Callable[[], AbstractAsyncContextManager[Session]]
    row: SharedRow
    send: Send
    time_left: Callable[[], float]
    _: KW_ONLY
    slot: str
    publication: str
    follow: bool = True
    named: Mapping[str, Sequence[str]] = field(default_factory=dict)
    handles: Callable[[str], bool] = lambda prefix: True
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self._snapshot = Snapshot()
        self._progress = Progress()
        self._described = Database(source=self.source, name=self.database, keys={})
        self._unknown: set[str] = set()
        self._at_end = False
        self._is_fresh = True

    async def run(self) -> bool:
        """Capture what is new; True says that the time was over before the end.

        Raises
        ------
        CaptureError
            The message says what to do. Nothing is lost by it that wasn't before.
        """
        async with self.open() as session:
            try:
                await self._prepare(session)
                return await self._read_tables(session) or await self._stream(session)
            except (SlotInUse, Overtaken) as other:
                log_event("capture left to another", source=self.source, reason=str(other))
                return True

    async def _prepare(self, session: Session) -> None:
        """See that publication and slot are there and ours, and know how far it has come."""
        self._snapshot = await self.row.read()
        self._progress = Progress.of(self._snapshot.values)
        keys = await session.keys(self.tables, self.named)
        slot = await session.slot(self.slot)
        if self._progress.begun and slot is None:
            raise SlotLost(
                f"the slot {self.slot} was dropped: changes are missing. Reset the capture, which makes a slot and "
                "reads the tables anew"
            )
        if not self._progress.begun and slot is not None and slot.status == "lost":
            await session.drop_slot(self.slot)
            slot = None
        await self._forget(await session.published(self.publication))  # before they are published anew
        await session.publish(self.publication, self.tables, create=slot is None)
        is_new = slot is None
        if slot is None:
            await session.create_slot(self.slot)
            slot = await session.slot(self.slot)
        if slot is None or slot.status == "lost":
            raise SlotLost(
                f"the server removed the log that the slot {self.slot} needs (max_slot_wal_keep_size): changes are "
                "missing. Reset the capture, which makes a slot and reads the tables anew"
            )
        if not self._progress.begun:
            await self._write(Progress(begun=slot.confirmed, upto=slot.confirmed))
        elif slot.confirmed > self._progress.upto:
            raise SlotMoved(
                f"the slot {self.slot} is at {lsn_text(slot.confirmed)}, and {lsn_text(self._progress.upto)} is how "
                "far it was advanced here: somebody else moved it or made it anew, and changes are missing. Reset the "
                "capture, which reads the tables anew"
            )
        reached = max(self._progress.upto, self._progress.position.lsn)
        if (flushed := await session.flushed()) < reached:
            raise SlotMoved(
                f"the server's log ends at {lsn_text(flushed)}, and {lsn_text(reached)} is how far it was captured: it "
                "is another server, or one that lacked the end of the log when it took over. Reset the capture, which "
                "reads the tables anew"
            )
        await self._note_new(session, is_new_slot=is_new)
        self._described = Database(
            source=self.source, name=self.database, keys=keys, types=await session.types(), handles=self.handles
        )

    async def _forget(self, published: Mapping[str, str] | None) -> None:
        """Forget what was read of tables of which the log may lack changes since then, so that they are read anew.

        That is one that isn't captured now: the slot goes on without it. And one that was made anew or wasn't published
        for a time; a publication that is away as a whole may get its name back.
        """
        kept = {
            table: read
            for table, read in self._progress.tables.items()
            if table in self.tables and (published is None or published.get(table) == read.identity)
        }
        if gone := sorted(self._progress.tables.keys() - kept.keys()):
            await self._write(replace(self._progress, tables=kept))
            log_event("tables to be read anew", level=30, source=self.source, tables=", ".join(gone))

    async def _note_new(self, session: Session, *, is_new_slot: bool) -> None:
        """Note which tables are new, and which transactions may have changed them before they were published."""
        new = [table for table in self.tables if table not in self._progress.tables]
        if not new:
            return
        published = await session.published(self.publication) or {}
        after = await session.next_transaction()  # later than whatever published them
        tables = {
            # making a slot has waited for those that were open then
            table: TableRead(identity=published.get(table, ""), after=0 if is_new_slot else after)
            for table in new
        }
        await self._write(replace(self._progress, tables={**self._progress.tables, **tables}))

    async def _is_settled(self, session: Session, table: str, after: int) -> bool:
        """Wait until the transactions before this one have ended; False where the time was over before."""
        is_logged = False
        while await session.oldest_open() < after:
            if not is_logged:
                log_event("table waits for open transactions", source=self.source, table=table)
                is_logged = True
            if not self.follow or self.time_left() < SPARE:
                return False
            await self.sleep(LOOK_AGAIN)
        return True

    async def _read_tables(self, session: Session) -> bool:
        """Read the tables that weren't yet; True where the time was over before the end."""
        for table in self.tables:
            read = self._progress.tables[table]
            if read.done:
                continue
            if not read.snapshot and not await self._is_settled(session, table, read.after):
                return True
            page = await session.page(self.publication, table, self._described.keys[table])
            async with session.snapshot() as taken:
                if not read.snapshot:  # known before a row is sent: what goes from then on comes with the stream
                    read = replace(read, snapshot=taken.text, lsn=taken.lsn, at=taken.at)
                    await self._write(self._progress.with_table(table, read))
                if await self._read_table(session, page, read):
                    return True
        return False

    async def _read_table(self, session: Session, page: Page, read: TableRead) -> bool:
        convert = []
        for name, oid in page.columns:
            try:
                convert.append(converter(oid, self._described.types))
            except LookupError:
                convert.append(None)
                self._tell_unknown({f"{page.table}.{name}"})
        names = [name for name, _ in page.columns]
        async with aclosing(session.rows(page, read.last)) as portions:
            async for rows in portions:
                records = []
                for number, row in enumerate(rows, read.rows + 1):
                    values = {
                        name: text if text is None or read_as is None else read_as(text)
                        for name, text, read_as in zip(names, row, convert, strict=False)
                    }
                    change = row_change(self._described, page.table, number, self._progress.begun, read.at, values)
                    records.append(change)
                await self.send(records)
                self._is_fresh = False
                last = tuple(str(text) for text in rows[-1][len(names) :])
                read = replace(read, last=last, rows=read.rows + len(records))
                await self._write(self._progress.with_table(page.table, read))
                if self.time_left() < SPARE:
                    return True
        await self._write(self._progress.with_table(page.table, replace(read, done=True)))
        log_event("table read", source=self.source, table=page.table, rows=read.rows)
        return False

    async def _stream(self, session: Session) -> bool:
        seen = {name: self._progress.tables[name].visibility for name in self.tables}
        self._described = replace(self._described, seen=seen)
        looked, advanced = -1, self._now()
        while (left := self.time_left()) >= SPARE:
            flushed = await session.flushed()
            if flushed != looked:
                try:
                    is_over, sent = await self._look(session, flushed, left)
                except DecodingTooSlow:
                    if self._is_fresh:
                        raise
                    return True  # a run that has all of its time may do it
                self._is_fresh = False
                if is_over:
                    return True
                if sent or self._now() - advanced >= IDLE_ADVANCE or not self.follow:
                    await self._advance(session)
                    advanced = self._now()
                if not self._at_end:
                    continue
                looked = flushed
            if not self.follow:
                return False
            await self.sleep(LOOK_AGAIN)
        return True

    async def _look(self, session: Session, flushed: int, seconds: float) -> tuple[bool, bool]:
        """Send what the slot has; whether the time was over before its end, and whether anything was sent."""
        before = self._progress.position
        stream = ChangeStream(self._described, before)
        waiting: list[ChangeRecord] = []
        messages = size = 0
        async with aclosing(session.peek(self.slot, self.publication, seconds)) as portions:
            async for portion in portions:
                messages += len(portion)
                for lsn, data in portion:
                    waiting.extend(stream.feed(lsn, data))
                    size += len(data)
                    if len(waiting) >= SEND_CHANGES or (size >= SEND_BYTES and waiting):
                        await self._sent(waiting)
                        waiting, size = [], 0
                        if self.time_left() < SPARE:
                            return True, True
                if self.time_left() < SPARE:  # also while it passes over what was sent before, or isn't captured
                    if waiting:
                        await self._sent(waiting)
                    return True, self._progress.position != before
        if waiting:
            await self._sent(waiting)
        self._tell_unknown(stream.unread)
        self._at_end = messages < PEEK_CHANGES
        upto = max(self._progress.upto, flushed if self._at_end else stream.committed)
        self._progress = replace(self._progress, upto=upto)
        return False, self._progress.position != before or not self._at_end

    async def _sent(self, records: Sequence[ChangeRecord]) -> None:
        await self.send(records)
        await self._write(replace(self._progress, position=records[-1].position))

    async def _advance(self, session: Session) -> None:
        await self._write(self._progress)
        await session.advance(self.slot, self._progress.upto)

    async def _write(self, progress: Progress) -> None:
        written = await self.row.write(progress.columns(), self._snapshot)
        if written is None:
            raise Overtaken("the position was written by another")
        self._snapshot, self._progress = written, progress

    def _tell_unknown(self, columns: set[str]) -> None:
        for column in sorted(columns - self._unknown):
            log_event("column of an unknown type stays text", level=30, source=self.source, column=column)
        self._unknown |= columns

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
