"""Whether bronze has every event: gaps and overlaps by sequence number, and files that can't be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.streams.event_log import EventLog

from .errors import CorruptFile, Gap
from .reader import BronzeReader

__all__ = ["Completeness", "completeness"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Completeness:
    """What bronze has of one partition.

    Attributes
    ----------
    first, last:
        Sequence numbers of its oldest and newest event; an empty one has `first = last + 1`.
    files, events:
        How many there are; an event that several files have counts once.
    gaps:
        Events that no file has, between those that some have.
    overlaps:
        Events that more than one file has: a batch was delivered twice.
    corrupt:
        Files that aren't what was written; what they should have is in `gaps`.
    behind:
        Events that the hub has and bronze hasn't yet; 0 where no hub was asked.
    """

    partition: str
    first: int
    last: int
    files: int
    events: int
    gaps: Sequence[Gap]
    overlaps: int
    corrupt: Sequence[CorruptFile]
    behind: int

    @property
    def is_whole(self) -> bool:
        """Nothing is missing up to its newest event, and every file is right."""
        return not self.gaps and not self.corrupt


async def completeness(reader: BronzeReader, hub: EventLog, *, verify: bool = False) -> list[Completeness]:
    """For each partition of the hub what bronze has of its log as it is now.

    Parameters
    ----------
    verify:
        Read every file to its end; without, those that say what they hold are taken at their word.

    Raises
    ------
    BronzeUnavailable, LogUnavailable
    """
    log, extents = await hub.identity(), await hub.extents()
    return [
        await _partition(reader, partition, log, (extent.first, extent.last), verify=verify)
        for partition, extent in extents.items()
    ]


async def _partition(
    reader: BronzeReader, partition: str, log: str, extent: tuple[int, int], *, verify: bool
) -> Completeness:
    ranges: list[tuple[int, int]] = []
    corrupt: list[CorruptFile] = []
    files = 0
    async for _, found in reader.ranges(partition, log, verify=verify):
        files += 1
        if isinstance(found, CorruptFile):
            corrupt.append(found)
        else:
            ranges.append((found.first, found.last))
    gaps, overlaps, events = [], 0, 0
    ranges.sort()
    first = ranges[0][0] if ranges else 0
    last = first - 1
    for begin, end in ranges:
        if begin > last + 1:
            gaps.append(Gap(partition=partition, first=last + 1, last=begin - 1))
        overlaps += max(0, min(last, end) - begin + 1)
        events += max(0, end - max(last, begin - 1))
        last = max(last, end)
    missing = extent[1] - max(last, extent[0] - 1) if ranges else extent[1] - extent[0] + 1
    return Completeness(
        partition=partition,
        first=first,
        last=last,
        files=files,
        events=events,
        gaps=gaps,
        overlaps=overlaps,
        corrupt=corrupt,
        behind=max(0, missing),
    )
