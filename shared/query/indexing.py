"""Gives the rows that are there already the index rows of a declaration that came later, and takes away old ones.

Each partition of a view has a mark: the declaration that all its rows followed when they were last looked at, or how
far the walk came. A row and its index rows are changed in one transaction, so that events may go on meanwhile.

Instances of an earlier release may write beside the walk and after it, so it comes again: hourly for a day, then daily.
A row tells by which declaration it is indexed. One that doesn't may have been written by a release without indexes: its
partition's entries are looked through for those that lead to it, and the partition is counted anew.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from shared.tables import Entity, Query, Table, Upsert

from .indexes import COUNTER, ENTRY, MARKER, ViewIndexes
from .planning import ALL_ROWS, place_order
from .row_writes import DECLARATION, partitions_of
from .views import ReadModels

__all__ = ["Indexed", "Indexer"]

_PAGE = 100
_UNKNOWN = 500
"""Rows of which nothing is known that share a look through the entries."""
_SOON, _YOUNG, _LATER = timedelta(hours=1), timedelta(days=1), timedelta(days=1)


class Indexed(NamedTuple):
    """What a run did: rows that it looked at, those that it changed, and whether there is nothing left to do now."""

    seen: int
    changed: int
    complete: bool


class Indexer:
    """Walks through the views whose declarations have changed, and through all of them now and then.

    Parameters
    ----------
    table:
        The one of `rows`, for the marks.
    places_of:
        Under which names the rows of a view lie, all of its versions; without, under its own.
    """

    def __init__(
        self,
        table: Table,
        rows: ReadModels,
        declared: Mapping[str, ViewIndexes],
        *,
        now: Callable[[], datetime],
        places_of: Callable[[str], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        self._table = table
        self._rows = rows
        self._declared = declared
        self._now = now
        self._places_of = places_of or _own_name

    async def run(self, time_left: Callable[[], float]) -> Indexed:
        """Go on where the last run ended, while there is time (seconds)."""
        seen = changed = 0
        for view, declared in self._declared.items():
            for partition in [one for place in await self._places_of(view) for one in partitions_of(place)]:
                if time_left() <= 0:
                    return Indexed(seen, changed, False)
                done = await self._partition(declared, partition, time_left)
                seen, changed = seen + done.seen, changed + done.changed
                if not done.complete:
                    return Indexed(seen, changed, False)
        return Indexed(seen, changed, True)

    async def _partition(self, declared: ViewIndexes, partition: str, time_left: Callable[[], float]) -> Indexed:
        found = await self._table.get(partition, MARKER)
        same = found is not None and found.get("declaration") == declared.declaration
        mark: dict[str, Any] = dict(found) if found is not None and same else {"since": self._now()}
        if not self._due(mark):
            return Indexed(0, 0, True)
        seen = changed = 0
        unknown: list[Entity] = []
        after = str(mark.get("after", ""))
        async with aclosing(self._walk(partition, after)) as rows:
            async for row in rows:
                seen, after = seen + 1, str(row["RowKey"])
                if DECLARATION not in row:
                    unknown.append(row)
                elif row[DECLARATION] != declared.declaration:
                    changed += await self._rows.index_again(declared, partition, after)
                over = seen % _PAGE == 0 and time_left() <= 0
                if over or len(unknown) == _UNKNOWN:
                    changed += await self._know(declared, partition, unknown, mark)
                    unknown = []
                if over:
                    await self._mark(declared, partition, {**mark, "after": after})
                    return Indexed(seen, changed, False)
        changed += await self._know(declared, partition, unknown, mark)
        if mark.get("recount"):
            await self._mark(declared, partition, {**mark, "after": after})  # if this one dies, it is still to be done
            if await self._rows.recount(partition, time_left):
                mark["recount"] = None
            elif time_left() <= 0:
                return Indexed(seen, changed, False)
        whole = not mark.get("recount") and not mark.get("left")
        walked = {"since": mark.get("since", self._now()), "walked": self._now() if whole else None}
        await self._mark(declared, partition, {"recount": mark.get("recount"), **walked})
        return Indexed(seen, changed, True)

    def _due(self, mark: Mapping[str, Any]) -> bool:
        walked, since = mark.get("walked"), mark.get("since")
        if walked is None or since is None or "after" in mark:
            return True
        return bool(self._now() - walked >= (_SOON if walked - since < _YOUNG else _LATER))

    async def _walk(self, partition: str, after: str) -> AsyncGenerator[Entity, None]:
        columns = ["PartitionKey", "RowKey", "key", "sequence", DECLARATION]
        for one in ALL_ROWS:
            if place_order(after) < place_order(one.end):
                first = max(one.first, after, key=place_order)
                query = Query(partition=partition, first=first, end=one.end, select=columns)
                async with aclosing(self._table.query(query)) as found:
                    async for row in found:
                        yield row

    async def _know(
        self, declared: ViewIndexes, partition: str, unknown: Sequence[Entity], mark: dict[str, Any]
    ) -> int:
        """Have nothing but their entries lead to some rows; the mark says what is to be done after."""
        if not unknown:
            return 0
        leading: defaultdict[str, list[str]] = defaultdict(list)
        keys = {row["key"] for row in unknown}
        query = Query(partition=partition, first=ENTRY, end=COUNTER, select=["RowKey", "key"])
        async with aclosing(self._table.query(query)) as entries:
            async for entry in entries:
                if entry["key"] in keys:
                    leading[entry["key"]].append(str(entry["RowKey"]))
        mark["recount"] = True
        await self._mark(declared, partition, {**mark, "after": unknown[0]["RowKey"]})
        changed = 0
        for row in unknown:
            done = await self._rows.index_wholly(declared, row, leading[row["key"]])
            changed += done
            mark["left"] = mark.get("left") or not done or None
        return changed

    async def _mark(self, declared: ViewIndexes, partition: str, mark: Mapping[str, Any]) -> None:
        await self._table.submit(
            [Upsert({**mark, "PartitionKey": partition, "RowKey": MARKER, "declaration": declared.declaration})]
        )


async def _own_name(view: str) -> Sequence[str]:
    return (view,)
