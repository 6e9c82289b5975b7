"""Read models: one row per key, replaced by the newest event, read by point look-up."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from shared.privacy import token_name
from shared.state import bucket_of, pack, row_safe, unpack
from shared.tables import (
    MAX_OPERATIONS,
    Condition,
    Conflict,
    Create,
    Entity,
    Operation,
    Query,
    Replace,
    Table,
    Upsert,
    again_on_conflict,
)

__all__ = ["Page", "ReadModels", "StoredRow", "ViewRow"]

_SHARDS = 16
_GROUP = 50
_GROUP_BYTES = 1024 * 1024
"""Characters and bytes of values: three bytes each on the wire still fit the 4 MiB of a transaction."""
_TRIES = 5
_INDEX = "%3A"
"""How the row keys of the index begin: never a row's own, since `row_safe` doesn't encode a colon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRow:
    """One row of a view; `value` is its JSON, with protected fields encrypted.

    Attributes
    ----------
    tokens:
        By JSON name the tokens under which the row is found.
    """

    view: str
    key: str
    value: str
    event_id: str
    sequence: int
    tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Keys and JSON of some rows, and the key after which there may be more."""

    rows: list[tuple[str, str]]
    after: str | None


class StoredRow(NamedTuple):
    """A row as it was read: its JSON, the version that the store gave it, and when it was written by its clock."""

    text: str
    version: str
    modified: datetime | None


class ReadModels:
    """The table of all views."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """Have every row hold its newest event: one with a lower sequence than the stored one changes nothing.

        So a repeated batch, a replayed event or two instances on one partition for a moment can't turn a row back.
        """
        newest: dict[tuple[str, str], ViewRow] = {}
        for row in rows:
            named = (row.view, row.key)
            if named not in newest or row.sequence >= newest[named].sequence:
                newest[named] = row
        partitions: dict[str, list[ViewRow]] = {}
        for row in newest.values():
            partitions.setdefault(_partition(row.view, row.key), []).append(row)
        groups = [group for found in partitions.values() for group in _groups(found)]
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                tasks.create_task(self._put(group))

    async def _put(self, rows: Sequence[ViewRow]) -> None:
        """A key's first event is created without a look; only what was stored before is read."""
        try:
            await self._write(rows, await self._known([row for row in rows if row.sequence > 1]))
        except Conflict:
            for row in rows:
                await self._put_alone(row)

    async def _put_alone(self, row: ViewRow) -> None:
        async def put() -> None:
            await self._write([row], await self._known([row]))

        await again_on_conflict(put, subject=f"the row {row.view}/{row.key}", tries=_TRIES)

    async def _known(self, rows: Sequence[ViewRow]) -> dict[str, Entity]:
        columns = ("PartitionKey", "RowKey", "sequence")
        keys = [(_partition(row.view, row.key), row_safe(row.key)) for row in rows]
        found = await asyncio.gather(*(self._table.get(*key, select=columns) for key in keys))
        return {key: entity for (_, key), entity in zip(keys, found, strict=True) if entity is not None}

    async def _write(self, rows: Sequence[ViewRow], known: Mapping[str, Entity]) -> None:
        """One transaction; a conflict where a row is there already or has changed since it was read."""
        operations: list[Operation] = []
        for row in rows:
            stored = known.get(row_safe(row.key))
            if stored is None:
                operations.append(Create(_entity(row)))
            elif row.sequence > int(stored.get("sequence", 0)):
                operations.append(Replace(_entity(row), stored.etag))
            else:
                continue
            operations += [Upsert(entry) for entry in _entries(row)]
        if operations:
            await self._table.submit(operations)

    async def get(self, view: str, key: str) -> str | None:
        """The JSON of a row, or None."""
        row = await self.read(view, key)
        return None if row is None else row.text

    async def read(self, view: str, key: str) -> StoredRow | None:
        """A row and its version, or None."""
        row = await self._table.get(_partition(view, key), row_safe(key))
        return None if row is None else StoredRow(unpack(row), str(row.etag), row.modified)

    async def version(self, view: str, key: str) -> str | None:
        """The version of a row, without the row; None where there is none."""
        row = await self._table.get(_partition(view, key), row_safe(key), select=("RowKey",))
        return None if row is None else str(row.etag)

    async def find(self, view: str, name: str, tokens: Sequence[str], *, top: int, after: str = "") -> Page:
        """The rows in which a tokenized field has one of some tokens, in the order of their row keys, from `after` on.

        The index is written with its rows; of entries that an earlier value of a row left behind nothing is returned.
        """
        found = await asyncio.gather(
            *(
                self._indexed(f"{view}:{shard:02d}", name, token, top, after)
                for shard in range(_SHARDS)
                for token in tokens
            )
        )
        keys = sorted({key for group in found for key in group}, key=row_safe)
        page, more = keys[:top], len(keys) > top or any(len(group) == top for group in found)
        rows = await asyncio.gather(*(self.get(view, key) for key in page))
        return Page(
            rows=[
                (key, row)
                for key, row in zip(page, rows, strict=True)
                if row is not None and from_json(row).get(token_name(name)) in tokens
            ],
            after=page[-1] if page and more else None,
        )

    async def _indexed(self, partition: str, name: str, token: str, top: int, after: str) -> list[str]:
        prefix = f"{_INDEX}{name}:{token}:"
        query = Query(
            partition=partition,
            end=f"{prefix[:-1]};",
            where=[Condition("RowKey", "gt", prefix + row_safe(after))],
            select=["key"],
            size=top,
        )
        keys: list[str] = []
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
                keys.append(str(row["key"]))
                if len(keys) == top:
                    break
        return keys

    async def close(self) -> None:
        """Close the table's HTTP sessions."""
        await self._table.close()


def _partition(view: str, key: str) -> str:
    return f"{view}:{bucket_of(key, _SHARDS):02d}"


def _groups(rows: Sequence[ViewRow]) -> list[list[ViewRow]]:
    groups: list[list[ViewRow]] = []
    size = operations = 0
    for row in rows:
        more = 2 * len(row.value)
        writes = 1 + len(row.tokens)
        full = groups and (len(groups[-1]) == _GROUP or operations + writes > MAX_OPERATIONS)
        if not groups or full or size + more > _GROUP_BYTES:
            groups.append([])
            size = operations = 0
        groups[-1].append(row)
        size += more
        operations += writes
    return groups


def _entries(row: ViewRow) -> list[dict[str, Any]]:
    """The index's rows: beside the row itself, so that one transaction writes them."""
    key = row_safe(row.key)
    return [
        {
            "PartitionKey": _partition(row.view, row.key),
            "RowKey": f"{_INDEX}{name}:{token}:{key}",
            "key": row.key,
            "sequence": row.sequence,
        }
        for name, token in row.tokens.items()
    ]


def _entity(row: ViewRow) -> dict[str, Any]:
    return {
        "PartitionKey": _partition(row.view, row.key),
        "RowKey": row_safe(row.key),
        "key": row.key,
        "eventId": row.event_id,
        "sequence": row.sequence,
        **pack(row.value),
    }
