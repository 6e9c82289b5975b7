"""Keeps two processes from working on the versions of one view at once; free again when its holder has died."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shared.state import row_safe
from shared.tables import Conflict, Create, Delete, Replace, Table

__all__ = ["LEASE_SECONDS", "ViewLease"]

LEASE_SECONDS = 60.0
_PARTITION = ":leases"


class ViewLease:
    """A row beside those of the versions, so that whoever may rebuild needs no other table."""

    def __init__(self, table: Table, view: str, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._row = row_safe(view)
        self._now = now
        self._holder = uuid4().hex

    async def acquire(self) -> bool:
        """Take it or hold it longer; False while somebody else has it."""
        found, now = await self._table.get(_PARTITION, self._row), self._now()
        if found is not None and found["holder"] != self._holder and found["until"].astimezone(UTC) > now:
            return False
        row = {
            "PartitionKey": _PARTITION,
            "RowKey": self._row,
            "holder": self._holder,
            "until": now + timedelta(seconds=LEASE_SECONDS),
        }
        try:
            await self._table.submit([Create(row) if found is None else Replace(row, found.etag)])
        except Conflict:
            return False
        return True

    async def release(self) -> None:
        """Give it up, if it is still ours."""
        found = await self._table.get(_PARTITION, self._row)
        if found is not None and found["holder"] == self._holder:
            try:
                await self._table.submit([Delete(found, found.etag)])
            except Conflict:
                return
