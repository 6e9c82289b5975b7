"""Read models: one row per key, replaced by the newest event, with the rows by which it is found and counted.

What belongs to a row lies in its partition, so that one transaction writes all of it: index entries, whose row keys
the row lists, and counters. A counter is the sum over the partitions.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json

from shared.privacy import token_name
from shared.state import row_safe, unpack
from shared.tables import (
    Condition,
    Conflict,
    Create,
    Delete,
    Entity,
    Operation,
    Query,
    Replace,
    Table,
    again_on_conflict,
)

from .indexes import COUNTER, MARKER, ViewIndexes
from .merging import Found, merged
from .planning import ALL_ROWS, Range, place_order
from .row_writes import (
    DECLARATION,
    TOKEN_ENTRY,
    ViewChange,
    ViewRow,
    Written,
    groups,
    lines,
    partition_of,
    partitions_of,
    tombstone_key,
    written_again,
)

__all__ = ["Page", "ReadModels", "StoredRow", "is_row"]

_TRIES, _AT_ONCE = 20, 64
_CHANGED = 50
"""Rows that are read at once to be changed: of the largest, 50 MiB."""
_LOOK = 1_000
_ENTRIES = 50
"""That are taken from one row at once: they fit a transaction with what it gets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Keys and JSON of some rows, and the key after which there may be more."""

    rows: list[tuple[str, str]]
    after: str | None


class StoredRow(NamedTuple):
    """A row as it was read: its JSON, the version that the store gave it, and when it was written by its clock.

    Attributes
    ----------
    sequence:
        The number of its newest event among those of its key.
    """

    text: str
    version: str
    modified: datetime | None
    sequence: int = 0


class ReadModels:
    """The table of all views.

    Parameters
    ----------
    indexes:
        What is declared, by view.
    place_of:
        Under which name the rows of a view lie, where several versions of it are kept; without, under its own.
    """

    def __init__(
        self,
        table: Table,
        indexes: Mapping[str, ViewIndexes] | None = None,
        *,
        place_of: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self._table = table
        self._indexes = indexes or {}
        self._place_of = place_of or _own_name
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def put(self, rows: Sequence[ViewRow | ViewChange]) -> None:
        """Have every row hold its newest event: one with a lower sequence than the stored one changes nothing.

        So a repeated batch, a replayed event or two instances on one partition for a moment can't turn a row back.
        Changes are made in their order, each once.
        """
        newest: dict[tuple[str, str], ViewRow] = {}
        changes: dict[tuple[str, str], list[ViewChange]] = {}
        for row in rows:
            named = (row.view, row.key)
            if isinstance(row, ViewChange):
                changes.setdefault(named, []).append(row)
            elif named not in newest or row.sequence >= newest[named].sequence:
                newest[named] = row
        places = {view: await self._place_of(view) for view in {view for view, _ in (*newest, *changes)}}
        partitions: dict[str, list[Written]] = {}
        for row in newest.values():
            one = self._written(row, partition_of(places[row.view], row.key))
            partitions.setdefault(one.partition, []).append(one)
        changed: dict[str, list[list[ViewChange]]] = {}
        for (view, key), own in changes.items():
            changed.setdefault(partition_of(places[view], key), []).append(own)
        async with asyncio.TaskGroup() as tasks:
            for found in partitions.values():
                tasks.create_task(self._put_all(groups(found)))
            for partition, several in changed.items():
                tasks.create_task(self._change_all(partition, several))

    def _written(self, row: ViewRow, partition: str, *, is_gone: bool = False, graves: int = 0) -> Written:
        declared = self._indexes.get(row.view)
        if declared is None:
            return Written(partition, row, [], [], None, graves, is_gone)
        entries, counters = ([], []) if is_gone else declared.entries(from_json(row.value), row.key)
        moves = graves + (declared.writes if row.sequence > 1 else 0)
        return Written(partition, row, entries, counters, declared.declaration, moves, is_gone)

    async def _put_all(self, groups: Sequence[Sequence[Written]]) -> None:
        """One after the other: they share the partition's counters."""
        for group in groups:
            await self._put(group)

    async def _put(self, rows: Sequence[Written]) -> None:
        """A key's first event is created without a look; only what was stored before is read."""
        try:
            await self._write(rows, await self._known([one for one in rows if one.row.sequence > 1]))
        except Conflict:

            async def put() -> None:
                await self._write(rows, await self._known(rows))

            first = rows[0].row
            await again_on_conflict(put, subject=f"the row {first.view}/{first.key}, or one beside it,", tries=_TRIES)

    async def _change_all(self, partition: str, changes: Sequence[list[ViewChange]]) -> None:
        for start in range(0, len(changes), _CHANGED):
            await self._change(partition, changes[start : start + _CHANGED])

    async def _change(self, partition: str, changes: Sequence[list[ViewChange]]) -> None:
        """Change some keys' rows; even a key's first event may have been followed by one that deleted the row."""

        async def change() -> None:
            await self._apply(partition, changes)

        first = changes[0][0]
        await again_on_conflict(change, subject=f"the row {first.view}/{first.key}, or one beside it,", tries=_TRIES)

    async def _apply(self, partition: str, changes: Sequence[list[ViewChange]]) -> None:
        keys = [own[0].key for own in changes]
        known = await self._read([(partition, of(key)) for key in keys for of in (row_safe, tombstone_key)], ())
        written = [
            one
            for own in changes
            if (one := await self._changed(partition, own, known.get(row_safe(own[0].key)), known)) is not None
        ]
        for group in groups(written):
            await self._write(group, known)

    async def _changed(
        self, partition: str, own: Sequence[ViewChange], stored: Entity | None, known: Mapping[str, Entity]
    ) -> Written | None:
        """A key's row after some events; None where all of them were applied before."""
        rows = (stored, known.get(tombstone_key(own[0].key)))
        last = max((int(one.get("sequence", 0)) for one in rows if one is not None), default=-1)
        text = None if stored is None else unpack(stored)
        made, newest = None, None
        for one in own:
            if one.sequence > last:
                made, newest, last = await one.apply(text), one, one.sequence
                text = None if made is None else made.text
        if newest is None:
            return None
        row = ViewRow(
            view=newest.view,
            key=newest.key,
            value=text or "",
            event_id=newest.event_id,
            sequence=newest.sequence,
            tokens={} if made is None else made.tokens,
        )
        return self._written(row, partition, is_gone=made is None, graves=1)

    async def _known(self, rows: Sequence[Written]) -> dict[str, Entity]:
        columns = ("PartitionKey", "RowKey", "sequence", "indexed", "counted", DECLARATION)
        return await self._read([(one.partition, row_safe(one.row.key)) for one in rows], columns)

    async def _read(self, keys: Sequence[tuple[str, str]], columns: Sequence[str]) -> dict[str, Entity]:
        found = await asyncio.gather(*(self._table.get(*key, select=columns) for key in keys))
        return {key: entity for (_, key), entity in zip(keys, found, strict=True) if entity is not None}

    async def _write(self, rows: Sequence[Written], known: Mapping[str, Entity]) -> None:
        """One transaction; a conflict where a row is there already or has changed since it was read."""
        operations: list[Operation] = []
        counted: Counter[str] = Counter()
        for one in rows:
            key = one.row.key
            operations += one.operations(known.get(row_safe(key)), known.get(tombstone_key(key)), counted)
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
            one, counted = written_again(declared, stored), Counter[str]()
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
        one, counted = written_again(declared, stored), Counter[str]()
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
                    counted.update(lines(row, "counted"))
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
        place = await self._place_of(view)
        row = await self._table.get(partition_of(place, key), row_safe(key))
        if row is None:
            return None
        return StoredRow(unpack(row), f"{place}/{row.etag}", row.modified, int(row.get("sequence", 0)))

    async def sequence(self, view: str, key: str) -> int:
        """The number of the newest event by which a row was changed or deleted; 0 where there was none."""
        partition = partition_of(await self._place_of(view), key)
        for name in (row_safe(key), tombstone_key(key)):
            if (row := await self._table.get(partition, name, select=("RowKey", "sequence"))) is not None:
                return int(row.get("sequence", 0))
        return 0

    async def version(self, view: str, key: str) -> str | None:
        """The version of a row, without the row; None where there is none."""
        place = await self._place_of(view)
        row = await self._table.get(partition_of(place, key), row_safe(key), select=("RowKey",))
        return None if row is None else f"{place}/{row.etag}"

    async def found(
        self, view: str, ranges: Sequence[Range], *, after: str | None, size: int
    ) -> AsyncGenerator[Found, None]:
        """Index entries, or the rows themselves, in order, from a place on."""
        entries = bool(ranges) and ranges[0].before != ""
        rows = merged(
            self._table,
            partitions_of(await self._place_of(view)),
            ranges,
            after=after,
            select=["RowKey", "key"] if entries else [],
            size=size,
            at_once=self._at_once,
        )
        async with aclosing(rows):
            async for one in rows:
                yield one

    async def count(self, view: str, counters: Sequence[str]) -> int:
        """The sum of some counters."""
        partitions = partitions_of(await self._place_of(view))
        places = [(partition, name) for partition in partitions for name in counters]

        async def rows(partition: str, name: str) -> int:
            async with self._at_once:
                row = await self._table.get(partition, name, select=["rows"])
            return 0 if row is None else int(row["rows"])

        return sum(await asyncio.gather(*(rows(*place) for place in places)))

    async def find(self, view: str, name: str, tokens: Sequence[str], *, top: int, after: str = "") -> Page:
        """The rows in which a tokenized field has one of some tokens, in the order of their row keys, from `after` on.

        The index is written with its rows; of entries that an earlier value of a row left behind nothing is returned.
        """
        partitions = partitions_of(await self._place_of(view))
        found = await asyncio.gather(
            *(self._indexed(partition, name, token, top, after) for partition in partitions for token in tokens)
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
        prefix = f"{TOKEN_ENTRY}{name}:{token}:"
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


async def _own_name(view: str) -> str:
    return view
