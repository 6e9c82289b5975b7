"""A table that remembers the rows it wrote, so that a version is made without reading what was just written.

Whatever it remembers is checked by the store: each row is written over the version that is remembered, and what was
changed by others is a conflict, after which it is read.
"""

from collections.abc import Mapping, Sequence

from shared.resilience import BoundedCache
from shared.tables import Create, Entity, Operation, Query, Replace, Rows, Table

__all__ = ["RememberingTable"]

CAPACITY = 64 * 1024 * 1024
_ROW_BYTES = 600
"""What a row takes beside its texts."""


class RememberingTable(Table):
    """Implements `Table`.

    Parameters
    ----------
    folded:
        Rows depend on what they were, and may be deleted: values are needed again, and what isn't known is read. Else
        it is taken as not there, since a new version begins empty, until that is wrong once: who creates a row that is
        there learns of it.
    """

    def __init__(self, table: Table, *, folded: bool) -> None:
        self.name = table.name
        self._table = table
        self._values = folded
        self._rows: BoundedCache[tuple[str, str], Entity] = BoundedCache(CAPACITY, size=_size)
        self._is_new = not folded

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """See `Table`; columns that weren't asked for may be there too."""
        known = self._rows.get((partition, row))
        if known is not None or self._is_new:
            return known
        return await self._table.get(partition, row, select=select)

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        """See `Table`."""
        return await self._table.page(query, start)

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """See `Table`."""
        places = [(str(one.row["PartitionKey"]), str(one.row["RowKey"])) for one in operations]
        try:
            etags = await self._table.submit(operations)
        except BaseException:  # it may have been done all the same
            for place in places:
                self._rows.pop(place)
            self._is_new = False
            raise
        for place, operation, etag in zip(places, operations, etags, strict=True):
            if isinstance(operation, Create | Replace):
                self._rows.put(place, Entity(self._kept(operation.row), etag))
            else:
                self._rows.pop(place)
        return etags

    def _kept(self, row: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in row.items() if self._values or not name.startswith("value")}

    async def ensure_created(self) -> None:
        """See `Table`."""
        await self._table.ensure_created()

    async def probe(self) -> None:
        """See `Table`."""
        await self._table.probe()

    async def close(self) -> None:
        """See `Table`."""
        await self._table.close()


def _size(row: Entity) -> int:
    return _ROW_BYTES + sum(len(value) for value in row.values() if isinstance(value, str | bytes))
