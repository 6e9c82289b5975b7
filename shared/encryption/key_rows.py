"""Data keys and the rows that store them wrapped, where every instance finds them: made, read back, replaced."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.tables import Conflict, Create, Delete, Entity, Operation, Query, Replace, Table

from .cipher import KEY_BYTES, DataKey
from .errors import KeysUnavailable, ProtectionError
from .wrapping import KeyWrapper, Wrapped

__all__ = ["KeyRow", "KeyTable", "columns_of", "created_at", "infrastructure", "make_key", "read_key", "wrapped_of"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row; `etag` is the version of it that was read, None before it was written."""

    partition: str
    row: str
    columns: Mapping[str, Any] = field(repr=False)
    etag: str | None = None


class KeyTable:
    """What the keys need of a table, which is made with its first row. Each verb is atomic."""

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

    async def of(self, partition: str) -> list[KeyRow]:
        """All rows of a partition."""
        return [_read(row) async for row in self._table.query(Query(partition=partition))]

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


async def make_key(
    key_id: str, *, partition: str, row: str, wrapper: KeyWrapper, now: datetime, random_bytes: Callable[[int], bytes]
) -> tuple[DataKey, KeyRow]:
    """A new data key, and the row to keep it by."""
    secret = random_bytes(KEY_BYTES)
    wrapped = await wrapper.wrap(secret)
    return DataKey(key_id, secret), KeyRow(partition, row, {"keyId": key_id, "created": now, **columns_of(wrapped)})


def columns_of(wrapped: Wrapped) -> dict[str, str | bytes]:
    """The columns that a wrapped key takes."""
    return {"wrapped": wrapped.data, "wrappingKey": wrapped.key, "wrappingVersion": wrapped.version}


def wrapped_of(row: KeyRow) -> Wrapped | None:
    """The wrapped key of a row; None where the row has none."""
    columns = row.columns
    if "wrapped" not in columns:
        return None
    return Wrapped(bytes(columns["wrapped"]), str(columns["wrappingKey"]), str(columns["wrappingVersion"]))


async def read_key(row: KeyRow, wrapper: KeyWrapper) -> DataKey:
    """The data key of a row; raises UnknownKey where it can't be unwrapped for good."""
    wrapped = wrapped_of(row)
    if wrapped is None:
        raise ValueError(f"the row {row.row!r} has no key")
    return DataKey(str(row.columns["keyId"]), await wrapper.unwrap(wrapped))


def created_at(row: KeyRow) -> datetime:
    """When the key of a row was made."""
    moment: datetime = row.columns["created"]
    return moment


@asynccontextmanager
async def infrastructure(what: str, seconds: float) -> AsyncIterator[None]:
    """Within its seconds, and whatever is wrong with storage or vault is raised as KeysUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ProtectionError:
        raise
    except Exception as error:
        raise KeysUnavailable(f"{what}: {type(error).__name__}") from error
