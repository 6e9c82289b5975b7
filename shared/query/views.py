"""Read models: one row per key, replaced by the newest fact, read by point look-up."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from shared.state import bucket_of, etag_of, pack, row_safe, unpack
from shared.tables import TableSession, TransactionFailed

__all__ = ["ReadModels", "ViewRow"]

_SHARDS = 16
_GROUP = 50
_GROUP_BYTES = 1024 * 1024
"""Characters and bytes of values: three bytes each on the wire still fit the 4 MiB of a transaction."""
_RACES = 5
_REPLACE = {"mode": UpdateMode.REPLACE}


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRow:
    """One row of a view; `value` is the JSON that the API answers with."""

    view: str
    key: str
    value: str
    event_id: str
    sequence: int


class ReadModels:
    """The table of all views."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._session = TableSession(table)

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """Have every row show its newest fact: one with a lower sequence than what is shown changes nothing.

        So a repeated batch, a replayed event or two instances on one partition for a moment can't turn a row back.
        """
        newest: dict[tuple[str, str], ViewRow] = {}
        for row in rows:
            place = (row.view, row.key)
            if place not in newest or row.sequence >= newest[place].sequence:
                newest[place] = row
        partitions: dict[str, list[ViewRow]] = {}
        for row in newest.values():
            partitions.setdefault(_partition(row.view, row.key), []).append(row)
        groups = [group for found in partitions.values() for group in _groups(found)]
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(self._put(group))

    async def _put(self, rows: Sequence[ViewRow]) -> None:
        """A key's first fact is created without a look; only what was shown before is read."""
        known = await self._known([row for row in rows if row.sequence > 1])
        if await self._write(rows, known):
            return
        for row in rows:
            for _ in range(_RACES):
                if await self._write([row], await self._known([row])):
                    break
            else:
                raise RuntimeError(f"the row {row.view}/{row.key} keeps changing")

    async def _known(self, rows: Sequence[ViewRow]) -> dict[str, Mapping[str, Any]]:
        found = await asyncio.gather(*(self._get(row) for row in rows))
        return {row_safe(row.key): entity for row, entity in zip(rows, found, strict=True) if entity is not None}

    async def _get(self, row: ViewRow) -> Mapping[str, Any] | None:
        try:
            return await self._table.get_entity(
                _partition(row.view, row.key), row_safe(row.key), select=["PartitionKey", "RowKey", "sequence"]
            )
        except ResourceNotFoundError:
            return None

    async def _write(self, rows: Sequence[ViewRow], known: Mapping[str, Mapping[str, Any]]) -> bool:
        """One transaction; False where a row is there already or has changed since it was read."""
        operations: list[Any] = []
        for row in rows:
            shown = known.get(row_safe(row.key))
            if shown is None:
                operations.append(("create", _entity(row)))
            elif row.sequence > int(shown.get("sequence", 0)):
                guard = {"etag": etag_of(shown), "match_condition": MatchConditions.IfNotModified}
                operations.append(("update", _entity(row), {**_REPLACE, **guard}))
        if not operations:
            return True
        for _ in range(2):
            try:
                await self._session.submit(operations)
            except TransactionFailed as error:
                if error.status_code in (409, 412):
                    return False
                if error.status_code != 404:
                    raise
                with suppress(ResourceExistsError):
                    await self._table.create_table()
            else:
                return True
        raise RuntimeError(f"the table {self._table.table_name} can't be made")

    async def get(self, view: str, key: str) -> str | None:
        """The JSON of a row, or None."""
        try:
            row = await self._table.get_entity(_partition(view, key), row_safe(key))
        except ResourceNotFoundError:
            return None
        return unpack(row)

    async def close(self) -> None:
        """Close the table's HTTP sessions."""
        await self._session.close()
        await self._table.close()


def _partition(view: str, key: str) -> str:
    return f"{view}:{bucket_of(key, _SHARDS):02d}"


def _groups(rows: Sequence[ViewRow]) -> list[list[ViewRow]]:
    groups: list[list[ViewRow]] = []
    size = 0
    for row in rows:
        more = 2 * len(row.value)
        if not groups or len(groups[-1]) == _GROUP or size + more > _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += more
    return groups


def _entity(row: ViewRow) -> dict[str, Any]:
    return {
        "PartitionKey": _partition(row.view, row.key),
        "RowKey": row_safe(row.key),
        "key": row.key,
        "eventId": row.event_id,
        "sequence": row.sequence,
        **pack(row.value),
    }
