"""Rows of wrapped keys: in Table storage, where every instance finds them, or in memory for tests."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient

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
    """Rows in Table storage; the table is made when the first row is written."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def get(self, partition: str, row: str) -> KeyRow | None:
        """A row, or None."""
        try:
            return _read(await self._table.get_entity(partition, row))
        except ResourceNotFoundError:
            return None

    async def first(self, partition: str) -> KeyRow | None:
        """The row of a partition with the least row key, or None."""
        rows = self._table.query_entities(
            "PartitionKey eq @partition", parameters={"partition": partition}, results_per_page=1
        )
        try:
            async for row in rows:
                return _read(row)
        except ResourceNotFoundError:
            pass
        return None

    async def create(self, row: KeyRow) -> bool:
        """Write a new row; False where there is one."""
        for _ in range(2):
            try:
                await self._table.create_entity(_write(row))
                return True
            except ResourceExistsError:
                return False
            except ResourceNotFoundError:  # the table
                try:
                    await self._table.create_table()
                except ResourceExistsError:
                    continue
        await self._table.create_entity(_write(row))
        return True

    async def replace(self, row: KeyRow) -> bool:
        """Write a row over the version that was read; False where it has changed or gone."""
        try:
            await self._table.update_entity(
                _write(row), UpdateMode.REPLACE, etag=row.etag, match_condition=MatchConditions.IfNotModified
            )
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        return True

    async def swap(self, gone: KeyRow, instead: Sequence[KeyRow]) -> bool:
        """Delete the version of a row that was read and write new rows beside it, all or nothing; False as above."""
        guard = {"etag": gone.etag, "match_condition": MatchConditions.IfNotModified}
        try:
            await self._table.submit_transaction(
                [("delete", _place(gone), guard), *(("create", _write(row)) for row in instead)]
            )
        except TableTransactionError as error:
            if error.status_code in (404, 409, 412):
                return False
            raise
        return True

    async def every(self) -> AsyncIterator[KeyRow]:
        """All rows."""
        try:
            async for row in self._table.list_entities():
                yield _read(row)
        except ResourceNotFoundError:
            return

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._table.close()


def _place(row: KeyRow) -> dict[str, Any]:
    return {"PartitionKey": row.partition, "RowKey": row.row}


def _write(row: KeyRow) -> dict[str, Any]:
    return {**row.columns, **_place(row)}


def _read(entity: Any) -> KeyRow:
    columns = {name: value for name, value in entity.items() if name not in ("PartitionKey", "RowKey")}
    return KeyRow(str(entity["PartitionKey"]), str(entity["RowKey"]), columns, str(entity.metadata["etag"]))


class MemoryKeyRows:
    """Rows in memory, as atomic as the table's."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], KeyRow] = {}
        self._etags = itertools.count(1)

    async def get(self, partition: str, row: str) -> KeyRow | None:
        """A row, or None."""
        return self._rows.get((partition, row))

    async def first(self, partition: str) -> KeyRow | None:
        """The row of a partition with the least row key, or None."""
        found = [row for row in self._rows.values() if row.partition == partition]
        return min(found, key=lambda row: row.row, default=None)

    async def create(self, row: KeyRow) -> bool:
        """Write a new row; False where there is one."""
        if (row.partition, row.row) in self._rows:
            return False
        self._put(row)
        return True

    async def replace(self, row: KeyRow) -> bool:
        """Write a row over the version that was read; False where it has changed or gone."""
        if not self._is(row):
            return False
        self._put(row)
        return True

    async def swap(self, gone: KeyRow, instead: Sequence[KeyRow]) -> bool:
        """Delete the version of a row that was read and write new rows beside it, all or nothing; False as above."""
        if not self._is(gone) or any((row.partition, row.row) in self._rows for row in instead):
            return False
        del self._rows[gone.partition, gone.row]
        for row in instead:
            self._put(row)
        return True

    async def every(self) -> AsyncIterator[KeyRow]:
        """All rows."""
        for row in list(self._rows.values()):
            yield row

    def _is(self, row: KeyRow) -> bool:
        known = self._rows.get((row.partition, row.row))
        return known is not None and known.etag == row.etag

    def _put(self, row: KeyRow) -> None:
        self._rows[row.partition, row.row] = replace(row, etag=f"etag-{next(self._etags)}")

    async def close(self) -> None:
        """Nothing is open."""
