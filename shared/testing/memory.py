"""The state table in memory: atomic transactions, ETags and conflicts as the real one has them."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from azure.core import MatchConditions
from azure.data.tables import UpdateMode

from shared.state import Conflict, Operation, Row, partition_key

__all__ = ["MemoryStore"]

_MAX_OPERATIONS = 100


class _Stored(dict[str, Any]):
    """A row as the tables' SDK returns it: its ETag is metadata, not a column."""

    def __init__(self, columns: Mapping[str, Any], etag: str) -> None:
        super().__init__(columns)
        self.metadata = {"etag": etag}


class MemoryStore:
    """Takes the place of `shared.state.StateStore`; nothing in it waits."""

    def __init__(self, *, buckets: int) -> None:
        self.buckets = buckets
        self.rows: dict[tuple[str, str], _Stored] = {}
        self._versions = count(1)

    async def open(self) -> None:
        """There is nothing to make."""

    def put(self, bucket: int, row_key: str, columns: Mapping[str, Any]) -> None:
        """Have a row there from the beginning."""
        place = (partition_key(bucket), row_key)
        keys = {"PartitionKey": place[0], "RowKey": place[1]}
        self.rows[place] = _Stored({**keys, **columns}, str(next(self._versions)))

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows of a bucket that exist, by row key."""
        partition, rows = partition_key(bucket), self.rows
        return {key: row for key in row_keys if (row := rows.get((partition, key))) is not None}

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> None:
        """Do all operations or none.

        Raises
        ------
        Conflict
            A row to create exists, or a row to update or delete is gone or has changed.
        ValueError
            No table would take this transaction: too many operations, a row twice, a row of another bucket.
        """
        partition = partition_key(bucket)
        keys = [operation[1]["RowKey"] for operation in operations]
        if len(keys) > _MAX_OPERATIONS:
            raise ValueError(f"{len(keys)} operations in one transaction; a table takes {_MAX_OPERATIONS}")
        if len(set(keys)) < len(keys):
            raise ValueError("one transaction changes the same row twice")
        if any(operation[1]["PartitionKey"] != partition for operation in operations):
            raise ValueError("one transaction changes rows of several partitions")
        for operation, key in zip(operations, keys, strict=True):
            if not self._fits(operation, self.rows.get((partition, key))):
                raise Conflict(key)
        for operation, key in zip(operations, keys, strict=True):
            self._apply(operation, (partition, key))

    def _fits(self, operation: Operation, row: _Stored | None) -> bool:
        kind, options = operation[0], _options(operation)
        if kind == "create":
            return row is None
        if kind == "upsert":
            return True
        if row is None:
            return False
        guarded = options.get("match_condition") is MatchConditions.IfNotModified
        return not guarded or row.metadata["etag"] == options.get("etag")

    def _apply(self, operation: Operation, place: tuple[str, str]) -> None:
        kind, columns = operation[0], operation[1]
        if kind == "delete":
            del self.rows[place]
            return
        merges = kind in ("update", "upsert") and _options(operation).get("mode") is not UpdateMode.REPLACE
        before: Mapping[str, Any] = self.rows.get(place, {}) if merges else {}
        kept = {name: value for name, value in columns.items() if value is not None}
        self.rows[place] = _Stored({**before, **kept}, str(next(self._versions)))

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """Delete rows; one that is gone already is fine."""
        partition = partition_key(bucket)
        for key in row_keys:
            self.rows.pop((partition, key), None)

    async def outbox(self, bucket: int, key: str | None = None) -> AsyncIterator[Row]:
        """The rows of a bucket, or of one aggregate in it, that are still to be published, in order."""
        partition = partition_key(bucket)
        places = [place for place in self.rows if place[0] == partition and place[1].startswith("outbox:")]
        for place in sorted(places):
            if key is None or self.rows[place]["subject"] == key:
                yield self.rows[place]

    async def parked(self, bucket: int) -> AsyncIterator[Row]:
        """The parked keys of a bucket."""
        partition = partition_key(bucket)
        for place in sorted(place for place in self.rows if place[0] == partition and place[1].startswith("parked:")):
            if place in self.rows:
                yield self.rows[place]

    async def waiting_claims(self, bucket: int) -> AsyncIterator[str]:
        """The claims of the messages of a bucket that wait behind a parked key."""
        partition = partition_key(bucket)
        for place in sorted(place for place in self.rows if place[0] == partition and place[1].startswith("waiting:")):
            if claim := self.rows[place]["claim"]:
                yield str(claim)

    async def close(self) -> None:
        """There is nothing to close."""


def _options(operation: Operation) -> Mapping[str, Any]:
    return operation[2] if len(operation) == 3 else {}
