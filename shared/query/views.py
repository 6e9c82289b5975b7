"""Read models: one row per key, replaced by the newest fact, read by point look-up."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient

from shared.state import bucket_of, pack, row_safe, unpack

__all__ = ["ReadModels", "ViewRow"]

_SHARDS = 16
_GROUP = 50
_GROUP_BYTES = 1024 * 1024
"""Characters and bytes of values: three bytes each on the wire still fit the 4 MiB of a transaction."""
_REPLACE = {"mode": UpdateMode.REPLACE}


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRow:
    """One row of a view; `value` is the JSON that the API answers with."""

    view: str
    key: str
    value: str
    event_id: str


class ReadModels:
    """The table of all views."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """Replace rows; of several for one key the last wins, as it is the newest fact."""
        newest = {(row.view, row.key): row for row in rows}
        partitions: dict[str, list[dict[str, Any]]] = {}
        for row in newest.values():
            entity = _entity(row)
            partitions.setdefault(entity["PartitionKey"], []).append(entity)
        groups = [group for entities in partitions.values() for group in _groups(entities)]
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(self._upsert(group))

    async def _upsert(self, entities: list[dict[str, Any]]) -> None:
        for _ in range(2):
            try:
                await self._table.submit_transaction([("upsert", entity, _REPLACE) for entity in entities])
            except (ResourceNotFoundError, TableTransactionError) as error:
                if error.status_code != 404:
                    raise
                with suppress(ResourceExistsError):
                    await self._table.create_table()
            else:
                return
        raise RuntimeError(f"the table {self._table.table_name} can't be made")

    async def get(self, view: str, key: str) -> str | None:
        """The JSON of a row, or None."""
        try:
            row = await self._table.get_entity(_partition(view, key), row_safe(key))
        except ResourceNotFoundError:
            return None
        return unpack(row)

    async def close(self) -> None:
        """Close the table's HTTP session."""
        await self._table.close()


def _partition(view: str, key: str) -> str:
    return f"{view}:{bucket_of(key, _SHARDS):02d}"


def _groups(entities: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: list[list[dict[str, Any]]] = []
    size = 0
    for entity in entities:
        more = sum(len(value) for value in entity.values())
        if not groups or len(groups[-1]) == _GROUP or size + more > _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entity)
        size += more
    return groups


def _entity(row: ViewRow) -> dict[str, Any]:
    return {
        "PartitionKey": _partition(row.view, row.key),
        "RowKey": row_safe(row.key),
        "key": row.key,
        "eventId": row.event_id,
        **pack(row.value),
    }
