"""Gives the rows that are there already the index rows of a declaration that came later, and takes away old ones.

Each partition of a view has a mark: the declaration that all its rows follow, or how far the walk came. A row and its
index rows are changed in one transaction, so that events may go on meanwhile.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple

from shared.tables import Query, Table, Upsert

from .indexes import MARKER, ViewIndexes
from .planning import ALL_ROWS
from .views import ReadModels, partitions_of

__all__ = ["Indexed", "Indexer"]

_PAGE = 100


class Indexed(NamedTuple):
    """What a run did: rows that it looked at, those that it changed, and whether there is nothing left to do."""

    seen: int
    changed: int
    complete: bool


class Indexer:
    """Walks through the views whose declarations have changed.

    Parameters
    ----------
    table:
        The one of `rows`, for the marks.
    """

    def __init__(self, table: Table, rows: ReadModels, declared: Mapping[str, ViewIndexes]) -> None:
        self._table = table
        self._rows = rows
        self._declared = declared

    async def run(self, time_left: Callable[[], float]) -> Indexed:
        """Go on where the last run ended, while there is time (seconds)."""
        seen = changed = 0
        for view, declared in self._declared.items():
            for partition in partitions_of(view):
                if time_left() <= 0:
                    return Indexed(seen, changed, False)
                done = await self._partition(declared, partition, time_left)
                seen, changed = seen + done.seen, changed + done.changed
                if not done.complete:
                    return Indexed(seen, changed, False)
        return Indexed(seen, changed, True)

    async def _partition(self, declared: ViewIndexes, partition: str, time_left: Callable[[], float]) -> Indexed:
        mark = await self._table.get(partition, MARKER)
        same = mark is not None and mark.get("declaration") == declared.declaration
        if mark is not None and same and "after" not in mark:
            return Indexed(0, 0, True)
        after = str(mark["after"]) if mark is not None and same else ""
        seen = changed = 0
        for one in ALL_ROWS:
            query = Query(partition=partition, first=max(one.first, after), end=one.end, size=_PAGE)
            async with aclosing(self._table.query(query)) as found:
                async for row in found:
                    seen += 1
                    changed += await self._rows.index_again(declared, row)
                    if seen % _PAGE == 0 and time_left() <= 0:
                        await self._mark(declared, partition, after=str(row["RowKey"]))
                        return Indexed(seen, changed, False)
        await self._mark(declared, partition, after=None)
        return Indexed(seen, changed, True)

    async def _mark(self, declared: ViewIndexes, partition: str, *, after: str | None) -> None:
        row = {"PartitionKey": partition, "RowKey": MARKER, "declaration": declared.declaration, "after": after}
        await self._table.submit([Upsert(row)])
