"""The state table behind a few verbs: grouped look-ups and one transaction per bucket."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from shared.tables import MAX_OPERATIONS, Condition, Conflict, Create, Delete, Operation, Query, Table

from .rows import partition_key, rows_of

__all__ = ["Row", "StateMismatch", "StateStore"]

Row = Mapping[str, Any]
MAX_READS = 64
"""Point reads side by side."""


class StateMismatch(RuntimeError):
    """The settings disagree with how the state table was laid out when it was made."""


class StateStore:
    """Reads and writes the buckets, spread over one or more accounts."""

    def __init__(self, tables: Sequence[Table], *, buckets: int) -> None:
        self._tables = tuple(tables)
        self.buckets = buckets
        self._ready = False
        self._opening = asyncio.Lock()
        self._reading = asyncio.Semaphore(MAX_READS)

    async def open(self) -> None:
        """Make the table where it is missing, and check that its layout is the one in the settings.

        Raises
        ------
        StateMismatch
            The number or order of buckets or accounts was changed: keys would be looked up in the wrong place.
        """
        if self._ready:
            return
        async with self._opening:
            if not self._ready:
                await asyncio.gather(*(self._open(number) for number in range(len(self._tables))))
                self._ready = True

    async def probe(self) -> None:
        """Read from every account, whatever is known of it; raises as `open` does, and what the store raises."""
        await asyncio.gather(*(self._open(number) for number in range(len(self._tables))))

    async def _open(self, number: int) -> None:
        table = self._tables[number]
        layout = {"buckets": self.buckets, "accounts": len(self._tables), "account": number}
        found = await table.get("layout", "layout")
        if found is None:
            with suppress(Conflict):  # another instance starts at the same moment
                await table.submit([Create({"PartitionKey": "layout", "RowKey": "layout", **layout})])
            found = await table.get("layout", "layout")
        born = None if found is None else {name: found.get(name) for name in layout}
        if born != layout:
            raise StateMismatch(
                f"The state table was laid out with {born}, the settings say {layout}: set SLUICE_STATE_BUCKETS and "
                "State as they were, or move the state to a new table first."
            )

    def _table(self, bucket: int) -> Table:
        return self._tables[bucket % len(self._tables)]

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows of a bucket that exist, by row key.

        Each is a point read, side by side: a filter of several row keys would scan the whole bucket, and take longer
        with every message that it remembers ("Design for querying", Azure Table storage).
        """
        await self.open()
        keys = list(dict.fromkeys(row_keys))
        rows = await asyncio.gather(*(self._get(bucket, key) for key in keys))
        return {key: row for key, row in zip(keys, rows, strict=True) if row is not None}

    async def _get(self, bucket: int, row_key: str) -> Row | None:
        async with self._reading:
            return await self._table(bucket).get(partition_key(bucket), row_key)

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> None:
        """Do all operations or none.

        Raises
        ------
        Conflict
            A row to create exists, or a row to replace or delete has changed or gone.
        """
        await self.open()
        if operations and operations[0].row["PartitionKey"] != partition_key(bucket):
            raise ValueError("one transaction changes rows of one bucket")
        await self._table(bucket).submit(operations)

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """Delete rows in groups; a row that is gone already is fine."""
        keys = list(row_keys)
        for start in range(0, len(keys), MAX_OPERATIONS):
            group = keys[start : start + MAX_OPERATIONS]
            rows = [{"PartitionKey": partition_key(bucket), "RowKey": key} for key in group]
            try:
                await self.commit(bucket, [Delete(row) for row in rows])
            except Conflict:  # somebody else was first with one of them: one at a time
                for row in rows:
                    with suppress(Conflict):
                        await self.commit(bucket, [Delete(row)])

    async def outbox(self, bucket: int, key: str | None = None) -> AsyncIterator[Row]:
        """The rows of a bucket, or of one aggregate in it, that are still to be published, in order."""
        async for row in self._range(bucket, *rows_of("outbox", key)):
            if key is None or row["subject"] == key:
                yield row

    async def _range(
        self, bucket: int, first: str, end: str, *, where: Sequence[Condition] = (), select: Sequence[str] = ()
    ) -> AsyncIterator[Row]:
        await self.open()
        query = Query(partition=partition_key(bucket), first=first, end=end, where=where, select=select)
        async for row in self._table(bucket).query(query):
            yield row

    async def parked(self, bucket: int) -> AsyncIterator[Row]:
        """The parked keys of a bucket."""
        async for row in self._range(bucket, *rows_of("parked")):
            yield row

    async def waiting_claims(self, bucket: int) -> AsyncIterator[str]:
        """The claims of the messages of a bucket that wait behind a parked key."""
        async for row in self._range(bucket, *rows_of("waiting"), select=["claim"]):
            if row["claim"]:
                yield str(row["claim"])

    async def settled(self, bucket: int, *, before: datetime) -> AsyncIterator[str]:
        """Row keys of the inbox records that were settled before a moment; open replays are left out."""
        where = [Condition("processedAt", "lt", before), Condition("status", "ne", "replaying")]
        async for row in self._range(bucket, *rows_of("inbox"), where=where, select=["RowKey"]):
            yield str(row["RowKey"])

    async def values_in_use(self, names: Collection[str]) -> set[str]:
        """Of some names of large values those that a row still refers to; a name begins with `<bucket>/<row key>:`.

        Any other name isn't ours to give up: it counts as in use.
        """
        places: dict[int, set[str]] = {}
        used: set[str] = set()
        for name in names:
            bucket, _, row_key = name.rpartition(":")[0].partition("/")
            if bucket.isdecimal() and row_key:
                places.setdefault(int(bucket), set()).add(row_key)
            else:
                used.add(name)
        for bucket_number, row_keys in places.items():
            found = await self.find(bucket_number, row_keys)
            used |= {str(row["valueBlob"]) for row in found.values() if "valueBlob" in row}
        return used & set(names)

    async def close(self) -> None:
        """Close the tables' HTTP sessions."""
        for table in self._tables:
            await table.close()
