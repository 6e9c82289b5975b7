"""A lease in the state table: one holder at a time, free again when its holder has died."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from shared.tables import Conflict, Create, Replace, etag_of

from .store import StateStore, partition_key

__all__ = ["Lease"]


class Lease:
    """Mutual exclusion for work that is safe to do twice but wasteful: the clocks of instances may differ a little.

    Parameters
    ----------
    seconds:
        How long it holds without being acquired again.
    """

    def __init__(self, store: StateStore, name: str, *, seconds: float, now: Callable[[], datetime]) -> None:
        self._store = store
        self._key = f"lease:{name}"
        self._seconds = seconds
        self._now = now
        self._holder = uuid4().hex

    async def acquire(self) -> bool:
        """Take the lease or hold it longer; False while somebody else has it."""
        found = (await self._store.find(0, [self._key])).get(self._key)
        now = self._now()
        if found is not None and found["holder"] != self._holder and found["until"].astimezone(UTC) > now:
            return False
        row = {
            "PartitionKey": partition_key(0),
            "RowKey": self._key,
            "holder": self._holder,
            "until": now + timedelta(seconds=self._seconds),
        }
        try:
            await self._store.commit(0, [Create(row) if found is None else Replace(row, etag_of(found))])
        except Conflict:
            return False
        return True

    async def release(self) -> None:
        """Give the lease up, if it is still ours."""
        found = (await self._store.find(0, [self._key])).get(self._key)
        if found is not None and found["holder"] == self._holder:
            await self._store.delete(0, [self._key])
