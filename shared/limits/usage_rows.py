"""Usage as rows of a table: one for each client and day, in a few partitions of the day."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from zlib import crc32

from shared.tables import Condition, Create, Delete, Query, Replace, Table, again_on_conflict, etag_of

from .rows import client_key
from .usage import Counts, Usage, UsageStore

__all__ = ["TableUsage"]

_PREFIX = "usage:"
_PARTITIONS = 4
_AT_ONCE = 100
"""Rows of a transaction, at most."""
_MARKS = 500
"""Instances whose last flush a row remembers: one whose outcome was unknown is sent again before the next."""
_LONGEST_NAME = 1_000


class TableUsage(UsageStore):
    """Implements `UsageStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def add(self, day: date, client: str, plan: str, counts: Counts, *, flush: str) -> None:
        """See `UsageStore`."""
        partition, row_key = _partition(day, client), f"{client_key(client)}:{plan}"

        async def attempt() -> None:
            row = await self._table.get(partition, row_key)
            marks: list[str] = [] if row is None else json.loads(row["flushes"])
            if flush in marks:
                return
            total = counts if row is None else counts + _counts(row)
            instance = flush.rpartition(".")[0]
            others = [one for one in marks if one.rpartition(".")[0] != instance]
            changed = {
                "PartitionKey": partition,
                "RowKey": row_key,
                "client": _shown(client),
                "plan": plan,
                "requests": total.requests,
                "messages": total.messages,
                "bytes": total.size,
                "flushes": json.dumps([*others, flush][-_MARKS:]),
            }
            await self._table.submit([Create(changed) if row is None else Replace(changed, etag_of(row))])

        await again_on_conflict(attempt, subject="a client's usage")

    async def read(self, first: date, last: date, client: str | None) -> AsyncIterator[Usage]:
        """See `UsageStore`."""
        day = first
        while day <= last:
            names = (
                [_partition(day, client)] if client is not None else [_shard(day, one) for one in range(_PARTITIONS)]
            )
            bounds: dict[str, Any] = {}
            if client is not None:
                start = f"{client_key(client)}:"
                bounds = {"first": start, "end": start[:-1] + ";"}
            for name in names:
                async for row in self._table.query(Query(partition=name, **bounds)):
                    if client is not None and row["client"] != _shown(client):
                        continue  # `acme:dev` is within the bounds of `acme`
                    yield Usage(day, str(row["client"]), str(row["plan"]), _counts(row))
            day += timedelta(days=1)

    async def sweep(self, before: date, *, time_left: Callable[[], float]) -> bool:
        """Delete the rows of days before one; False where time ran out."""
        keys = (
            Condition("PartitionKey", "ge", _PREFIX),
            Condition("PartitionKey", "lt", f"{_PREFIX}{before:%Y-%m-%d}"),
        )
        query = Query(where=keys, select=("PartitionKey", "RowKey"), size=_AT_ONCE)
        start: Mapping[str, str] | None = None
        while True:
            found = await self._table.page(query, start)
            for _, rows in groupby(found.rows, key=itemgetter("PartitionKey")):
                if time_left() <= 0:
                    return False
                await self._table.submit([Delete(row) for row in rows])
            start = found.next
            if start is None:
                return True


def _shown(client: str) -> str:
    return client[:_LONGEST_NAME].encode("utf-8", "replace").decode()


def _counts(row: Any) -> Counts:
    return Counts(int(row["requests"]), int(row["messages"]), int(row["bytes"]))


def _partition(day: date, client: str) -> str:
    return _shard(day, crc32(client.encode("utf-8", "surrogatepass")) % _PARTITIONS)


def _shard(day: date, number: int) -> str:
    return f"{_PREFIX}{day:%Y-%m-%d}:{number}"
