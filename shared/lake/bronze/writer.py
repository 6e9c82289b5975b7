"""Writes what a trigger hands over as files, before the trigger may go on: twice makes an overlap, never a hole."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC

from shared.streams import NEVER, StreamEvent

from .encoding import encode
from .errors import BronzeError
from .files import BronzeFiles, range_of

__all__ = ["BronzeWriter", "file_name"]

LARGEST = 64 * 1024 * 1024
"""Bytes of bodies in one file; an event of 1 MB, the hub's largest, is far below."""
_KNOWN_SECONDS = 60.0


class BronzeWriter:
    """Writes the batches of every partition.

    Parameters
    ----------
    identity:
        That of the log, as `EventLog` has it; asked for now and then.
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self,
        files: BronzeFiles,
        identity: Callable[[], Awaitable[str]],
        *,
        largest: int = LARGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._identity = identity
        self._largest = largest
        self._clock = clock
        self._log = ""
        self._asked = 0.0
        self._last: dict[str, int] = {}

    async def write(self, events: Sequence[StreamEvent]) -> None:
        """Return when the storage has them. The same events again make the same file again.

        Events of no log, such as one that was sent by hand, are left out.

        Raises
        ------
        BronzeUnavailable, LogUnavailable
            Some of them may be written; all come again.
        """
        kept = [event for event in events if event.partition and event.sequence_number >= 0]
        if not kept:
            return
        log = await self._identity_of(kept[0])
        for part in _parts(kept, self._largest):
            await self._write(part, log)
        self._last[kept[0].partition] = kept[-1].sequence_number

    async def _write(self, events: Sequence[StreamEvent], log: str) -> None:
        data = await asyncio.to_thread(encode, events)
        first, last = events[0].sequence_number, events[-1].sequence_number
        about = range_of(first, last, len(events), data, log)
        plain = f"{self._files.root}/{file_name(events[0])}"
        for name in (plain, f"{plain.removesuffix('.avro')}-{first:020}.avro"):
            if await self._files.write(name, data, about):
                return
            there = await self._files.find(name)
            if there is None or there.range is None:
                continue
            same = there.range.log == log and there.range.first == first
            if same and there.range.last >= last:
                return
            if same and await self._files.write(name, data, about, etag=there.etag):
                return
        raise BronzeError(f"{plain}: other events are there already, or somebody is writing them")

    async def _identity_of(self, event: StreamEvent) -> str:
        """The log's identity: asked for again after a while, and where the numbers don't go on."""
        goes_on = self._last.get(event.partition, event.sequence_number - 1) < event.sequence_number
        if not self._log or not goes_on or self._clock() - self._asked >= _KNOWN_SECONDS:
            self._log, self._asked = await self._identity(), self._clock()
        return self._log


def file_name(event: StreamEvent) -> str:
    """The name, within the hub's folder, of a file that begins with an event."""
    beside = event.annotations
    enqueued = (NEVER if beside is None else beside.enqueued).astimezone(UTC)
    return f"{event.partition}/{enqueued:%Y/%m/%d/%H/%M/%S}.avro"


def _parts(events: Sequence[StreamEvent], largest: int) -> Iterator[Sequence[StreamEvent]]:
    """The events in runs that are no larger, each of one event at least."""
    begin = size = 0
    for index, event in enumerate(events):
        size += len(event.body)
        if size > largest and index > begin:
            yield events[begin:index]
            begin, size = index, len(event.body)
    yield events[begin:]
