"""Rows that store data keys wrapped, where every instance finds them: made, read back, replaced, wrapped anew.

Once their wrapping key has a new version, a pass wraps them anew, so that the old one can be given up. It is safe to
repeat and to break off: each row is replaced only as it was read, and both forms hold the same key.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.tables import Condition, Conflict, Create, Delete, Entity, Operation, Query, Replace, Table
from shared.telemetry import log_event

from .cipher import KEY_BYTES, DataKey
from .errors import KeysUnavailable, ProtectionError
from .wrapping import KeyWrapper, Wrapped

__all__ = [
    "KeyRow",
    "KeyTable",
    "Rewrapped",
    "Rewrapping",
    "columns_of",
    "created_at",
    "infrastructure",
    "make_key",
    "read_key",
    "wrapped_of",
]


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

    async def between(self, first: str, end: str, where: Sequence[Condition]) -> AsyncIterator[KeyRow]:
        """Rows of every partition whose row keys lie between two, and of which all conditions hold."""
        async for row in self._table.query(Query(first=first, end=end, where=where)):
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


_AT_ONCE = 4
_SECONDS_EACH = 20.0


@dataclass(slots=True)
class Rewrapped:
    """What a pass did.

    Attributes
    ----------
    lost:
        Keys that can't be unwrapped; they are left as they are.
    failure:
        Why some weren't done.
    """

    seen: int = 0
    changed: int = 0
    lost: int = 0
    failure: KeysUnavailable | None = None


class Rewrapping:
    """Passes over the rows of wrapped keys."""

    def __init__(self, rows: KeyTable, wrapper: KeyWrapper) -> None:
        self._rows = rows
        self._wrapper = wrapper

    async def run(self) -> Rewrapped:
        """Wrap anew what isn't wrapped by the current version.

        Raises
        ------
        KeysUnavailable
            Some rows may be done; the next pass goes on with the others.
        """
        done = Rewrapped()
        slots = asyncio.Semaphore(_AT_ONCE)
        async with infrastructure("the wrapping key can't be asked now", _SECONDS_EACH):
            version = await self._wrapper.version()
        async with asyncio.TaskGroup() as tasks:
            async for row in self._rows.every():
                done.seen += 1
                wrapped = wrapped_of(row)
                if wrapped is not None and wrapped.version != version:
                    await slots.acquire()
                    tasks.create_task(self._one(row, done, slots))
        if done.changed or done.lost:
            log_event("data keys wrapped anew", seen=done.seen, changed=done.changed, lost=done.lost)
        if done.failure is not None:
            raise done.failure
        return done

    async def _one(self, row: KeyRow, done: Rewrapped, slots: asyncio.Semaphore) -> None:
        wrapped = wrapped_of(row)
        if wrapped is None:
            return
        try:
            async with infrastructure("a data key can't be wrapped anew now", _SECONDS_EACH):
                secret = await self._wrapper.unwrap(wrapped)
                new = await self._wrapper.wrap(secret)
                changed = replace(row, columns={**row.columns, **columns_of(new)})
                replaced = await self._rows.replace(changed)
            done.changed += replaced
        except ProtectionError as error:
            done.lost += 1
            log_event("data key lost", level=logging.ERROR, keyId=str(row.columns["keyId"]), error=error)
        except KeysUnavailable as error:  # the other rows may fare better
            done.failure = error
        finally:
            slots.release()
