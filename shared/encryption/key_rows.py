"""Rows of wrapped keys: in Table storage, where every instance finds them, or in memory for tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.tables import Conflict, Create, Delete, Entity, MemoryTable, Operation, Query, Replace, Table

__all__ = ["KeyRow", "KeyRows", "KeyTable", "MemoryKeyRows"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row; `etag` is the version of it that was read, None before it was written."""

    partition: str
    row: str
    columns: Mapping[str, Any] = field(repr=False)
    etag: str | None = None


class KeyRows(Protocol):
    """What the keys need of a table. Each verb is atomic."""

    async def get(self, partition: str, row: str) -> KeyRow | None:
        """A row, or None."""
        ...

    async def first(self, partition: str) -> KeyRow | None:
        """The row of a partition with the least row key, or None."""
        ...

    async def create(self, row: KeyRow) -> bool:
        """Write a new row; False where there is one."""
        ...

    async def replace(self, row: KeyRow) -> bool:
        """Write a row over the version that was read; False where it has changed or gone."""
        ...

    async def swap(self, gone: KeyRow, instead: Sequence[KeyRow]) -> bool:
        """Delete the version of a row that was read and write new rows beside it, all or nothing; False as above."""
        ...

    def every(self) -> AsyncIterator[KeyRow]:
        """All rows."""
        ...


class KeyTable:
    """Rows in a table; it is made when the first row is written."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, partition: str, row: str) -> KeyRow | None:
        """A row, or None."""
        found = await self._table.get(partition, row)
        return None if found is None else _read(found)

    async def first(self, partition: str) -> KeyRow | None:
        """The row of a partition with the least row key, or None."""
        async with aclosing(self._table.query(Query(partition=partition, size=1))) as rows:
            found = await anext(rows, None)
        return None if found is None else _read(found)

    async def create(self, row: KeyRow) -> bool:
        """Write a new row; False where there is one."""
        return await self._submit([Create(_write(row))])

    async def replace(self, row: KeyRow) -> bool:
        """Write a row over the version that was read; False where it has changed or gone."""
        return await self._submit([Replace(_write(row), row.etag)])

    async def swap(self, gone: KeyRow, instead: Sequence[KeyRow]) -> bool:
        """Delete the version of a row that was read and write new rows beside it, all or nothing; False as above."""
        return await self._submit([Delete(_write(gone), gone.etag), *(Create(_write(row)) for row in instead)])

    async def every(self) -> AsyncIterator[KeyRow]:
        """All rows."""
        async for row in self._table.query(Query()):
            yield _read(row)

    async def _submit(self, operations: Sequence[Operation]) -> bool:
        try:
            await self._table.submit(operations)
        except Conflict:
            return False
        return True

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._table.close()


def _write(row: KeyRow) -> dict[str, Any]:
    return {**row.columns, "PartitionKey": row.partition, "RowKey": row.row}


def _read(row: Entity) -> KeyRow:
    columns = {name: value for name, value in row.items() if name not in ("PartitionKey", "RowKey")}
    return KeyRow(str(row["PartitionKey"]), str(row["RowKey"]), columns, row.etag)


class MemoryKeyRows(KeyTable):
    """Rows in memory, as atomic as the table's."""

    def __init__(self) -> None:
        super().__init__(MemoryTable())
