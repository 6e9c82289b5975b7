"""Reads bronze: each partition's events in order, once, and only from files that were checked to their end."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from itertools import pairwise

from shared.streams import StreamEvent
from shared.streams.event_log import EventLog

from .encoding import decode
from .errors import CorruptFile, Gap, MissingEvents
from .files import BronzeFile, BronzeFiles, Range

__all__ = ["BronzeReader"]

CHUNK = 1_000
"""Events that are handed over at once."""
_RELISTED = 3
"""Times that a partition is listed again since files vanished, as where they were put together meanwhile."""


class BronzeReader:
    """Reads what `BronzeWriter` and Event Hubs Capture have written.

    Sequence numbers are those of one log. A hub that is made anew has another one, whose numbers begin again: reading
    is of the log that is named, or else of the newest. Capture's files name none, nor do those of them that were
    written anew for an erasure: they are of whichever is read.
    """

    def __init__(self, files: BronzeFiles) -> None:
        self._files = files
        self._ranges: dict[tuple[str, str], Range] = {}

    async def partitions(self) -> list[str]:
        """The partitions that have files."""
        return await self._files.partitions()

    async def logs(self, partition: str) -> list[str]:
        """The identities of the logs that the partition's files are of, the newest last; "" where none says so."""
        found: dict[str, None] = {}
        for day in await self._files.days(partition):
            for file in await self._files.of_day(partition, day):
                found[file.range.log if file.range is not None else ""] = None
        return sorted(found)

    async def read(
        self,
        partition: str,
        *,
        after: int = -1,
        log: str | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> AsyncIterator[list[StreamEvent]]:
        """The events after a sequence number in order, some at a time; ends where bronze ends, and the hub goes on.

        Parameters
        ----------
        after:
            -1 begins with the oldest event that there is.
        log:
            Whose numbers these are; None is the newest log's.
        on_gap:
            Is called with events that no file has, and reading goes on behind them.

        Raises
        ------
        MissingEvents
            There is a gap, and no `on_gap`. What came before it was given.
        CorruptFile
            A file isn't what was written. Nothing of it was given, and nothing after it.
        BronzeUnavailable
        """
        if log is None:
            log = await self._newest_log(partition)
        for _ in range(_RELISTED):
            vanished = False
            async for file in self._listed(partition, after, log):
                known = self._known(file)
                if known is not None and known.last <= after:
                    continue
                events = await self.checked(file, partition)
                if events is None:
                    vanished = True
                    break
                events = [event for event in events if event.sequence_number > after]
                for chunk in _runs(events):
                    start = chunk[0].sequence_number
                    if start > after + 1 and after >= 0:
                        gap = Gap(partition=partition, first=after + 1, last=start - 1)
                        if on_gap is None:
                            raise MissingEvents(gap)
                        on_gap(gap)
                    after = chunk[-1].sequence_number
                    yield chunk
            if not vanished:
                return
        raise CorruptFile(f"{self._files.root}/{partition}", "files vanish while they are read")

    async def read_on(
        self, partition: str, hub: EventLog, *, after: int = -1, on_gap: Callable[[Gap], None] | None = None
    ) -> AsyncIterator[list[StreamEvent]]:
        """The events of bronze, and then those that only the hub has yet, up to its newest when this began.

        Raises
        ------
        LogUnavailable
            And whatever `read` raises.
        """
        log, extent = await hub.identity(), await hub.extent(partition)
        async for chunk in self.read(partition, after=after, log=log, on_gap=on_gap):
            after = chunk[-1].sequence_number
            yield chunk
        if after >= extent.last or extent.first > extent.last:
            return
        if 0 <= after < extent.first - 1:
            gap = Gap(partition=partition, first=after + 1, last=extent.first - 1)
            if on_gap is None:
                raise MissingEvents(gap)
            on_gap(gap)
        async with aclosing(hub.read(partition, after=max(after, extent.first - 1))) as chunks:
            async for chunk in chunks:
                yield [event for event in chunk if event.sequence_number <= extent.last]
                if chunk[-1].sequence_number >= extent.last:
                    return

    async def ranges(
        self, partition: str, log: str, *, verify: bool = False
    ) -> AsyncIterator[tuple[BronzeFile, Range | CorruptFile]]:
        """Every file of a log with what it holds, or what is wrong with it; read for it where it says nothing.

        Parameters
        ----------
        verify:
            Read every file to its end.

        Raises
        ------
        BronzeUnavailable
        """
        for day in await self._files.days(partition):
            for file in await self._of_log(partition, day, log):
                try:
                    if (verify or self._known(file) is None) and await self.checked(file, partition) is None:
                        continue
                except CorruptFile as corrupt:
                    yield file, corrupt
                    continue
                known = self._known(file)
                if known is not None:
                    yield file, known

    async def _newest_log(self, partition: str) -> str:
        for day in reversed(await self._files.days(partition)):
            logs = {file.range.log for file in await self._files.of_day(partition, day) if file.range is not None}
            if logs:
                return max(logs)
        return ""

    async def _listed(self, partition: str, after: int, log: str) -> AsyncIterator[BronzeFile]:
        """A log's files that may have events after a number, by their first; those before are left out by the day."""
        days = await self._files.days(partition)
        begin = 0
        if after >= 0:  # most readers are near the end: from there backwards
            begin = len(days)
            while begin > 0:
                begin -= 1
                if await self._reaches_back(partition, days[begin], after, log):
                    break
        for day in days[begin:]:
            for file in await self._in_order(partition, day, log, after):
                yield file

    async def _reaches_back(self, partition: str, day: str, after: int, log: str) -> bool:
        """Whether a day begins with, or before, the event that follows on a number."""
        for file in await self._of_log(partition, day, log):
            known = self._known(file)
            if known is None and await self.checked(file, partition) is not None:
                known = self._known(file)
            if known is not None:
                return known.first <= after + 1
        return False

    async def _in_order(self, partition: str, day: str, log: str, after: int) -> list[BronzeFile]:
        """A day's files by their first sequence numbers; silent ones that end before a number are left out."""
        files = await self._of_log(partition, day, log)
        silent = [file for file in files if file.range is None]
        if not silent:
            return sorted(files, key=lambda file: (file.range.first, file.range.last) if file.range else (0, 0))
        if len(silent) == len(files):
            return files[await self._before(files, partition, after) :]
        placed: list[tuple[int, int, BronzeFile]] = []
        for file in files:
            with suppress(CorruptFile):  # it stays where its name puts it, and is an error when its turn comes
                if self._known(file) is None:
                    await self.checked(file, partition)
            known, before = self._known(file), placed[-1] if placed else (-1, -1, file)
            placed.append((before[0], before[1], file) if known is None else (known.first, known.last, file))
        return [file for _, _, file in sorted(placed, key=lambda one: one[:2])]

    async def _before(self, files: Sequence[BronzeFile], partition: str, after: int) -> int:
        """Of files that say nothing, in order, how many end before a number: looked for by halves."""
        low, high = 0, len(files) if after >= 0 else 0
        while low < high:
            middle = (low + high) // 2
            known = self._known(files[middle])
            if known is None:
                await self.checked(files[middle], partition)
                known = self._known(files[middle])
            if known is not None and known.last <= after:
                low = middle + 1
            else:
                high = middle
        return low

    async def _of_log(self, partition: str, day: str, log: str) -> list[BronzeFile]:
        files = await self._files.of_day(partition, day)
        return [file for file in files if file.range is None or file.range.log in ("", log)]

    def _known(self, file: BronzeFile) -> Range | None:
        return file.range or self._ranges.get((file.name, file.etag))

    async def checked(self, file: BronzeFile, partition: str) -> list[StreamEvent] | None:
        """A file's events, all of them as they were written; None where it has vanished, or is another one by now.

        Raises
        ------
        CorruptFile, BronzeUnavailable
        """
        data = await self._files.read(file.name)
        if data is None:
            return None
        try:
            events = await asyncio.to_thread(partial(_verified, data, file, partition))
        except CorruptFile:
            there = await self._files.find(file.name)
            if there is None or there.etag != file.etag:
                return None
            raise
        if events and file.range is None:
            first, last = events[0].sequence_number, events[-1].sequence_number
            self._ranges[file.name, file.etag] = Range(first=first, last=last, count=len(events), md5="", log="")
        return events


def _verified(data: bytes, file: BronzeFile, partition: str) -> list[StreamEvent]:
    expected = file.range
    if expected is not None and hashlib.md5(data, usedforsecurity=False).hexdigest() != expected.md5:
        raise CorruptFile(file.name, f"its MD5 isn't the one that was written, {len(data)} bytes")
    events = list(decode(data, partition, name=file.name))
    numbers = [event.sequence_number for event in events]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise CorruptFile(file.name, "its sequence numbers don't grow")
    if expected is not None and (len(events), numbers[:1], numbers[-1:]) != (
        expected.count,
        [expected.first],
        [expected.last],
    ):
        raise CorruptFile(
            file.name, f"it should have the {expected.count} events from {expected.first} to {expected.last}"
        )
    return events


def _runs(events: Sequence[StreamEvent]) -> list[list[StreamEvent]]:
    """The events in chunks whose numbers follow on each other."""
    runs: list[list[StreamEvent]] = []
    for event in events:
        last = runs[-1] if runs else None
        if last is None or len(last) >= CHUNK or last[-1].sequence_number + 1 != event.sequence_number:
            runs.append([event])
        else:
            last.append(event)
    return runs
