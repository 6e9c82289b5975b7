"""Read models: one row per key, replaced by the newest event, with the rows by which it is found and counted.

What belongs to a row lies in its partition, so that one transaction writes all of it: index entries, whose row keys
the row lists, and counters. A counter is the sum over the partitions.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
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
    Delete,
    Entity,
    Operation,
    Query,
    Replace,
    Table,
    Upsert,
    again_on_conflict,
)

from .indexes import COUNTER, MARKER, ViewIndexes
from .merging import Found, merged
from .planning import ALL_ROWS, Range, place_order

__all__ = ["Page", "ReadModels", "StoredRow", "ViewRow"]

_SHARDS = 16
_GROUP = 50
_GROUP_BYTES = 1024 * 1024
"""Characters and bytes of values: three bytes each on the wire still fit the 4 MiB of a transaction."""
_TRIES, _AT_ONCE = 20, 64
_LOOK = 1_000
_ENTRIES = 50
"""That are taken from one row at once: they fit a transaction with what it gets."""
DECLARATION = "declaration"
"""Column of a row: the declaration by which it is indexed; without it, entries that it doesn't list may lead to it."""
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
    """The table of all views.

    Parameters
    ----------
    indexes:
        What is declared, by view.
    """

    def __init__(self, table: Table, indexes: Mapping[str, ViewIndexes] | None = None) -> None:
        self._table = table
        self._indexes = indexes or {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """Have every row hold its newest event: one with a lower sequence than the stored one changes nothing.

        So a repeated batch, a replayed event or two instances on one partition for a moment can't turn a row back.
        """
        newest: dict[tuple[str, str], ViewRow] = {}
        for row in rows:
            named = (row.view, row.key)
            if named not in newest or row.sequence >= newest[named].sequence:
                newest[named] = row
        partitions: dict[str, list[_Written]] = {}
        for row in newest.values():
            partitions.setdefault(_partition(row.view, row.key), []).append(self._written(row))
        async with asyncio.TaskGroup() as tasks:
            for found in partitions.values():
                tasks.create_task(self._put_all(_groups(found)))

    def _written(self, row: ViewRow) -> "_Written":
        declared = self._indexes.get(row.view)
        if declared is None:
            return _Written(row, [], [], None)
        return _Written(row, *declared.entries(from_json(row.value), row.key), declared.declaration)

    async def _put_all(self, groups: Sequence[Sequence["_Written"]]) -> None:
        """One after the other: they share the partition's counters."""
        for group in groups:
            await self._put(group)

    async def _put(self, rows: Sequence["_Written"]) -> None:
        """A key's first event is created without a look; only what was stored before is read."""
        try:
            await self._write(rows, await self._known([one.row for one in rows if one.row.sequence > 1]))
        except Conflict:

            async def put() -> None:
                await self._write(rows, await self._known([one.row for one in rows]))

            first = rows[0].row
            await again_on_conflict(put, subject=f"the row {first.view}/{first.key}, or one beside it,", tries=_TRIES)

    async def _known(self, rows: Sequence[ViewRow]) -> dict[str, Entity]:
        columns = ("PartitionKey", "RowKey", "sequence", "indexed", "counted", DECLARATION)
        return await self._read([(_partition(row.view, row.key), row_safe(row.key)) for row in rows], columns)

    async def _read(self, keys: Sequence[tuple[str, str]], columns: Sequence[str]) -> dict[str, Entity]:
        found = await asyncio.gather(*(self._table.get(*key, select=columns) for key in keys))
        return {key: entity for (_, key), entity in zip(keys, found, strict=True) if entity is not None}

    async def _write(self, rows: Sequence["_Written"], known: Mapping[str, Entity]) -> None:
        """One transaction; a conflict where a row is there already or has changed since it was read."""
        operations: list[Operation] = []
        counted: Counter[str] = Counter()
        for one in rows:
            stored = known.get(row_safe(one.row.key))
            if stored is None:
                operations.append(Create(one.columns()))
            elif one.row.sequence > int(stored.get("sequence", 0)):
                operations.append(Replace(one.columns(known=DECLARATION in stored), stored.etag))
            else:
                continue
            operations += [Upsert(entry) for entry in _entries(one.row)]
            operations += one.moved(stored, counted)
        if operations:
            operations += await self._counters(operations[0].row["PartitionKey"], counted)
            await self._table.submit(operations)

    async def _counters(self, partition: str, counted: Mapping[str, int]) -> list[Operation]:
        """Counters as they are after some rows: against what is stored now, or a conflict."""
        known = await self._read([(partition, name) for name in counted], ("PartitionKey", "RowKey", "rows"))
        found: list[Operation] = []
        for name, more in counted.items():  # those too that only other rows have now: `recount` must see it
            stored = known.get(name)
            columns = {"PartitionKey": partition, "RowKey": name, "rows": more}
            if stored is None:
                found += [Create(columns)] if more > 0 else []
            elif (total := int(stored["rows"]) + more) > 0:
                found.append(Replace({**columns, "rows": total}, stored.etag))
            else:
                found.append(Delete(columns, stored.etag))
        return found

    async def index_again(self, declared: ViewIndexes, partition: str, row_key: str) -> bool:
        """Have a row found by what is declared now; whether it was changed."""

        async def change() -> bool:
            stored = await self._table.get(partition, row_key)
            if stored is None or stored.get(DECLARATION) == declared.declaration:
                return False
            one, counted = _again(declared, stored), Counter[str]()
            columns, moved = one.columns(known=DECLARATION in stored), one.moved(stored, counted)
            counters = await self._counters(partition, counted)
            await self._table.submit([Replace(columns, stored.etag), *moved, *counters])
            return True

        return await again_on_conflict(change, subject=f"the row {partition}/{row_key}", tries=_TRIES)

    async def index_wholly(self, declared: ViewIndexes, row: Entity, entries: Sequence[str]) -> bool:
        """Have only the entries of what a row holds lead to it, whoever wrote it; whether that was done.

        Parameters
        ----------
        row:
            Its keys and sequence as they were read before `entries`. One that an event has changed since is left.
        entries:
            All that lead to it.
        """
        partition = row["PartitionKey"]
        stored = await self._table.get(partition, row["RowKey"])
        if stored is None or int(stored["sequence"]) != int(row["sequence"]):
            return stored is None
        one, counted = _again(declared, stored), Counter[str]()
        whole = len(entries) <= _ENTRIES
        moved = one.moved(stored, counted, before=entries[:_ENTRIES])
        try:
            counters = await self._counters(partition, counted)
            await self._table.submit([Replace(one.columns(known=whole), stored.etag), *moved, *counters])
        except Conflict:
            return False
        return whole

    async def recount(self, partition: str, time_left: Callable[[], float]) -> bool:
        """Have a partition's counters say what its rows list; False where one changed meanwhile, or time was over.

        A release that knows no indexes forgets what a row was counted by, so a counter is never too low.
        """
        async with aclosing(self._table.query(Query(partition=partition, first=COUNTER, end=MARKER))) as rows:
            known = {str(row["RowKey"]): row async for row in rows}
        counted, seen = Counter[str](), 0
        for one in ALL_ROWS:
            query = Query(partition=partition, first=one.first, end=one.end, select=["counted"])
            async with aclosing(self._table.query(query)) as rows:
                async for row in rows:
                    counted.update(_lines(row, "counted"))
                    seen += 1
                    if seen % _LOOK == 0 and time_left() <= 0:
                        return False
        exact = True
        for name, stored in known.items():
            columns = {"PartitionKey": partition, "RowKey": name, "rows": counted[name]}
            if int(stored["rows"]) <= counted[name]:
                continue
            try:
                await self._table.submit([(Replace if counted[name] else Delete)(columns, stored.etag)])
            except Conflict:
                exact = False
        return exact

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

    def found(self, view: str, ranges: Sequence[Range], *, after: str | None, size: int) -> AsyncGenerator[Found, None]:
        """Index entries, or the rows themselves, in order, from a place on."""
        entries = bool(ranges) and ranges[0].before != ""
        return merged(
            self._table,
            partitions_of(view),
            ranges,
            after=after,
            select=["RowKey", "key"] if entries else [],
            size=size,
            at_once=self._at_once,
        )

    async def count(self, view: str, counters: Sequence[str]) -> int:
        """The sum of some counters."""
        places = [(partition, name) for partition in partitions_of(view) for name in counters]

        async def rows(partition: str, name: str) -> int:
            async with self._at_once:
                row = await self._table.get(partition, name, select=["rows"])
            return 0 if row is None else int(row["rows"])

        return sum(await asyncio.gather(*(rows(*place) for place in places)))

    async def find(self, view: str, name: str, tokens: Sequence[str], *, top: int, after: str = "") -> Page:
        """The rows in which a tokenized field has one of some tokens, in the order of their row keys, from `after` on.

        The index is written with its rows; of entries that an earlier value of a row left behind nothing is returned.
        """
        found = await asyncio.gather(
            *(
                self._indexed(partition, name, token, top, after)
                for partition in partitions_of(view)
                for token in tokens
            )
        )
        keys = sorted({key for group in found for key in group}, key=lambda key: place_order(row_safe(key)))
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


def is_row(columns: Mapping[str, Any]) -> bool:
    """Whether these are the columns of a row, and not of an index entry, which leads to one."""
    return "eventId" in columns


def partitions_of(view: str) -> list[str]:
    """The partitions of a view."""
    return [f"{view}:{shard:02d}" for shard in range(_SHARDS)]


def _partition(view: str, key: str) -> str:
    return f"{view}:{bucket_of(key, _SHARDS):02d}"


@dataclass(frozen=True, slots=True)
class _Written:
    """A row, and the row keys of its index entries and of the counters that count it."""

    row: ViewRow
    entries: Sequence[str]
    counters: Sequence[str]
    declaration: str | None

    @property
    def writes(self) -> int:
        """Operations at most, without those on the counters of `counters`: a later event moves what was there."""
        later = len(self.entries) + len(self.counters) if self.row.sequence > 1 else 0
        return 1 + len(self.row.tokens) + len(self.entries) + later

    def columns(self, *, known: bool = True) -> dict[str, Any]:
        """The row itself; it lists its entries, so that whoever changes it finds them.

        Parameters
        ----------
        known:
            Whether nothing but its entries leads to it. It is unknown behind a release that keeps no indexes.
        """
        columns = _entity(self.row)
        if self.declaration is not None:
            columns |= {"indexed": "\n".join(self.entries), "counted": "\n".join(self.counters)}
            columns |= {DECLARATION: self.declaration} if known else {}
        return columns

    def moved(
        self, stored: Entity | None, counted: Counter[str], before: Sequence[str] | None = None
    ) -> list[Operation]:
        """The index entries to write and to delete, of those that the row had; tells the counters."""
        before = _lines(stored, "indexed") if before is None else before
        counters, old = set(self.counters), set(_lines(stored, "counted"))
        counted.update(counters - old)
        counted.subtract(old - counters)
        partition = _partition(self.row.view, self.row.key)
        own = [{"PartitionKey": partition, "RowKey": one} for one in self.entries if one not in before]
        gone = [{"PartitionKey": partition, "RowKey": one} for one in sorted(set(before) - set(self.entries))]
        return [*(Upsert({**one, "key": self.row.key}) for one in own), *(Delete(one) for one in gone)]


def _lines(row: Entity | None, column: str) -> list[str]:
    return [] if row is None else [one for one in str(row.get(column, "")).split("\n") if one]


def _again(declared: ViewIndexes, stored: Entity) -> _Written:
    """A stored row as it is written by what is declared now."""
    row = ViewRow(
        view=declared.view,
        key=stored["key"],
        value=unpack(stored),
        event_id=stored["eventId"],
        sequence=int(stored["sequence"]),
    )
    return _Written(row, *declared.entries(from_json(row.value), row.key), declared.declaration)


def _groups(rows: Sequence[_Written]) -> list[list[_Written]]:
    groups: list[list[_Written]] = []
    size = operations = 0
    counters: set[str] = set()
    for one in rows:
        more = 2 * len(one.row.value)
        writes = one.writes + len(counters.union(one.counters)) - len(counters)
        full = groups and (len(groups[-1]) == _GROUP or operations + writes > MAX_OPERATIONS)
        if not groups or full or size + more > _GROUP_BYTES:
            groups.append([])
            size = operations = 0
            counters = set()
            writes = one.writes + len(one.counters)
        groups[-1].append(one)
        size += more
        operations += writes
        counters.update(one.counters)
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
