"""Rows of the state table that the instances share a partner's breakers and limits by."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.resilience import Snapshot
from shared.state import StateStore, bucket_of, partition_key, row_safe
from shared.tables import Conflict, Create, Replace, etag_of

__all__ = ["StateRow"]


class StateRow:
    """Implements `SharedRow`; the rows of many partners are spread over the buckets.

    Parameters
    ----------
    seconds:
        After which the store counts as away: a call waits for it, and mustn't wait as long as a transaction would.
    """

    def __init__(self, store: StateStore, name: str, *, seconds: float = 1.0) -> None:
        self._store = store
        self._seconds = seconds
        self._key = f"partner:{row_safe(name)}"
        self._bucket = bucket_of(name, store.buckets)

    async def read(self) -> Snapshot:
        """See `SharedRow`."""
        async with asyncio.timeout(self._seconds):
            row = (await self._store.find(self._bucket, [self._key])).get(self._key)
        if row is None:
            return Snapshot()
        values = {name: _in_utc(value) for name, value in row.items()}
        return Snapshot(values, etag_of(row))

    async def write(self, values: Mapping[str, Any], expected: Snapshot) -> Snapshot | None:
        """See `SharedRow`."""
        columns = {name: value for name, value in values.items() if value is not None}
        row = {"PartitionKey": partition_key(self._bucket), "RowKey": self._key, **columns}
        operation = Create(row) if expected.version is None else Replace(row, expected.version)
        try:
            async with asyncio.timeout(self._seconds):
                (version,) = await self._store.commit(self._bucket, [operation])
        except Conflict:
            return None
        return Snapshot(columns, version)


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
