"""Reads ranges of row keys in all partitions of a view as one ordered list."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.tables import Condition, Entity, Query, Table

from .planning import Range, place_order

__all__ = ["Found", "merged"]


class Found(NamedTuple):
    """A row of a range, and its place in the order."""

    place: str
    row: Mapping[str, Any]


@dataclass(slots=True)
class _Stream:
    """One range in one partition, read piece by piece."""

    table: Table
    query: Query
    before: str
    rows: list[Entity] = field(default_factory=list)
    start: Mapping[str, str] | None = None
    begun: bool = False

    async def fill(self) -> None:
        """Have a row there, unless it has ended."""
        while not self.rows and not (self.begun and self.start is None):
            page = await self.table.page(self.query, self.start)
            self.rows, self.start, self.begun = page.rows[::-1], page.next, True

    def place(self) -> str:
        return str(self.rows[-1]["RowKey"])[len(self.before) :]


async def merged(
    table: Table,
    partitions: Sequence[str],
    ranges: Sequence[Range],
    *,
    after: str | None,
    select: Sequence[str],
    size: int,
    at_once: asyncio.Semaphore,
) -> AsyncGenerator[Found, None]:
    """The rows of some ranges in the order of their places, from a place on.

    Parameters
    ----------
    size:
        Rows that are wanted about: a partition is asked for its share of them, and some more.
    at_once:
        How many first reads there may be, of this query and of others.
    """
    share = size // len(partitions) * 2 + 8
    streams = [
        _Stream(table, _query(partition, one, after, select, share), one.before)
        for one in ranges
        for partition in partitions
        if one.before or after is None or place_order(after) < place_order(one.end)
    ]

    async def begin(stream: _Stream) -> None:
        async with at_once:
            await stream.fill()

    await asyncio.gather(*map(begin, streams))
    heap = [(place_order(stream.place()), number) for number, stream in enumerate(streams) if stream.rows]
    heapq.heapify(heap)
    while heap:
        _, number = heap[0]
        stream = streams[number]
        found = Found(stream.place(), stream.rows.pop())
        yield found
        await stream.fill()
        if stream.rows:
            heapq.heapreplace(heap, (place_order(stream.place()), number))
        else:
            heapq.heappop(heap)


def _query(partition: str, one: Range, after: str | None, select: Sequence[str], size: int) -> Query:
    if after is None or place_order(one.before + after) < place_order(one.first):
        return Query(partition=partition, first=one.first, end=one.end, select=select, size=size)
    where = [Condition("RowKey", "gt", one.before + after)]
    return Query(partition=partition, end=one.end, where=where, select=select, size=size)
