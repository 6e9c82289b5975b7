"""The outbox's rows: what is still to be published of a key, and the deletion of what was, behind everybody's back."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from shared.state import Row, StateStore
from shared.telemetry import log_event

__all__ = ["OutboxRows", "RowsByBucket"]

RowsByBucket = Mapping[int, Sequence[Row]]

_DELETING_SECONDS = 5.0
"""Longer, and the rows are left to the sweep."""
_DELETING_AT_ONCE = 4
"""Batches whose rows are being deleted; the next one waits before it publishes more."""


class OutboxRows:
    """Knows which published rows are still on their way out: whoever reads a key's rows waits for them first."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._deleting: dict[asyncio.Task[None], set[str]] = {}

    async def unpublished(self, bucket: int, key: str) -> list[Row]:
        """The rows of a key that nobody has published, as far as this process knows, in order."""
        await self.deleted(key)  # else what was published would be published again
        return [row async for row in self._store.outbox(bucket, key)]

    async def deleted(self, key: str) -> None:
        """Return when no rows of a key that this process published are left, save those that the sweep will find."""
        if tasks := [task for task, keys in self._deleting.items() if key in keys]:
            await asyncio.wait(tasks)

    async def delete_behind(self, rows: RowsByBucket) -> None:
        """Begin to delete published rows; return at once, unless too many are being deleted already."""
        while len(self._deleting) >= _DELETING_AT_ONCE:
            await asyncio.wait(self._deleting, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._delete_in_time(rows), name="outbox-deletion")
        self._deleting[task] = {row["subject"] for group in rows.values() for row in group}
        task.add_done_callback(self._deleting.pop)

    async def _delete_in_time(self, rows: RowsByBucket) -> None:
        try:
            async with asyncio.timeout(_DELETING_SECONDS):
                await self.delete(rows)
        except Exception as error:  # the sweep publishes them again: a repeat, and no loss
            log_event("published rows are left in the outbox", level=logging.WARNING, error=error)

    async def delete(self, rows: RowsByBucket) -> None:
        """Return when the rows are deleted."""
        async with asyncio.TaskGroup() as tasks:
            for bucket, group in rows.items():
                tasks.create_task(self._store.delete(bucket, [row["RowKey"] for row in group]))

    async def close(self) -> None:
        """Return when the rows of all that was published are deleted."""
        if self._deleting:
            await asyncio.wait(self._deleting)
