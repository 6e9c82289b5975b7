"""Keeps bronze in shape: small files of an hour put together, and files that are past their retention deleted."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from shared.streams import StreamEvent

from .encoding import encode
from .errors import CorruptFile
from .files import BronzeFile, BronzeFiles, range_of
from .reader import BronzeReader

__all__ = ["compact", "sweep"]

LARGEST = 16 * 1024 * 1024
"""Bytes of files that are put together; what is larger stays as it is."""
_SETTLED = timedelta(minutes=5)
"""An hour is over for so long before its files are put together."""
_DAYS = 3
"""The newest days that are looked at: what an outage of the job may have left."""


async def compact(
    files: BronzeFiles,
    reader: BronzeReader,
    *,
    now: Callable[[], datetime],
    time_left: Callable[[], float],
    largest: int = LARGEST,
) -> tuple[int, bool]:
    """Put the files of each hour that is over together, where they follow on each other.

    The first of them becomes the whole before the others go: whoever reads meanwhile, or after a crash between the two,
    finds events twice and never misses one. Capture's files are left alone.

    Returns
    -------
    How many files are fewer, and whether there is more to do. A file that isn't what was written is left where it is.

    Raises
    ------
    BronzeUnavailable
    """
    fewer = 0
    for partition in await files.partitions():
        for day in (await files.days(partition))[-_DAYS:]:
            for group in _groups(await files.of_day(partition, day), now() - _SETTLED, largest):
                if time_left() <= 0:
                    return fewer, True
                fewer += await _put_together(files, reader, partition, group)
    return fewer, False


async def sweep(
    files: BronzeFiles, *, retention: timedelta, now: Callable[[], datetime], time_left: Callable[[], float]
) -> tuple[int, bool]:
    """Delete the files of days that are past their retention, the oldest first.

    Returns
    -------
    How many were deleted, and whether there is more to do.

    Raises
    ------
    BronzeUnavailable
    """
    deleted = 0
    oldest = f"{now() - retention:%Y/%m/%d}"
    for partition in await files.partitions():
        for day in await files.days(partition):
            if day >= oldest:
                break
            for file in await files.of_day(partition, day):
                if time_left() <= 0:
                    return deleted, True
                await files.delete(file)
                deleted += 1
    return deleted, False


def _groups(files: Sequence[BronzeFile], settled: datetime, largest: int) -> Iterator[list[BronzeFile]]:
    """Two or more files of one hour and log that follow on each other and fit into one."""
    known = sorted(
        (file for file in files if file.range is not None and file.modified < settled),
        key=lambda file: (_hour(file), file.range.log, file.range.first) if file.range else ("", "", 0),
    )
    for hour, group in groupby(known, key=lambda file: (_hour(file), file.range.log if file.range else "")):
        if hour[0] >= f"{settled:%Y/%m/%d/%H}":
            continue
        run: list[BronzeFile] = []
        last = size = 0
        for file in group:
            if file.range is None:
                continue
            if run and (file.range.first > last + 1 or size + file.size > largest):
                if len(run) > 1:
                    yield run
                run, last, size = [], 0, 0
            run.append(file)
            last, size = max(last, file.range.last), size + file.size
        if len(run) > 1:
            yield run


async def _put_together(files: BronzeFiles, reader: BronzeReader, partition: str, group: Sequence[BronzeFile]) -> int:
    events: dict[int, StreamEvent] = {}
    for file in group:
        try:
            found = await reader.checked(file, partition)
        except CorruptFile:
            return 0
        if found is None:  # another instance is at it
            return 0
        for event in found:
            events.setdefault(event.sequence_number, event)
    whole = [events[number] for number in sorted(events)]
    first, kept = group[0], group[0].range
    data = await asyncio.to_thread(encode, whole)
    about = range_of(
        whole[0].sequence_number, whole[-1].sequence_number, len(whole), data, kept.log if kept is not None else ""
    )
    if not await files.write(first.name, data, about, etag=first.etag):
        return 0
    for file in group[1:]:
        await files.delete(file)
    return len(group) - 1


def _hour(file: BronzeFile) -> str:
    """`2026/11/30/23`, of a name."""
    return "/".join(file.name.split("/")[-6:-2])
