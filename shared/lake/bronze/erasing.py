"""Changes events of files that are there already: for a person who is to be forgotten, and for nothing else."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from shared.streams import StreamEvent

from .encoding import encode
from .files import BronzeFile, BronzeFiles, range_of
from .reader import BronzeReader

__all__ = ["ERASED", "erased_event", "rewrite"]

ERASED = "The person whom it is about was erased."
"""Why an event can't be read of which nothing could be kept; its sequence number stays, so that nothing is missing."""


async def rewrite(
    files: BronzeFiles,
    reader: BronzeReader,
    partition: str,
    file: BronzeFile,
    change: Callable[[StreamEvent], StreamEvent],
) -> int:
    """Write a file anew with every event as `change` gives it back; returns how many differ.

    The file is taken as it is now; one that somebody else writes at the same time is left as it is: 0.

    Raises
    ------
    CorruptFile, BronzeUnavailable
    """
    there = await files.find(file.name)
    events = None if there is None else await reader.checked(there, partition)
    if there is None or not events:
        return 0
    changed = [change(event) for event in events]
    differing = sum(new != old or new.properties != old.properties for new, old in zip(changed, events, strict=True))
    if not differing:
        return 0
    data = await asyncio.to_thread(encode, changed)
    log = there.range.log if there.range is not None else ""
    content = range_of(changed[0].sequence_number, changed[-1].sequence_number, len(changed), data, log)
    return differing if await files.write(file.name, data, content, etag=there.etag) else 0


def erased_event(event: StreamEvent) -> StreamEvent:
    """An event of which nothing is left but its place and time."""
    return replace(event, body=b"", properties={}, unreadable=ERASED)
