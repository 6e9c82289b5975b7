"""Publishes what a crash left in the outbox."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shared.sending import EventPublisher, Fact
from shared.telemetry import log_event

from .rows import unpack
from .store import Row, StateStore

__all__ = ["OutboxSweeper"]


class OutboxSweeper:
    """Finds facts that were committed but not published, publishes them, and deletes their rows.

    Parameters
    ----------
    settle_for:
        Rows younger than this are left alone: their own batch is about to publish them.
    """

    def __init__(
        self, store: StateStore, publisher: EventPublisher, *, now: Callable[[], datetime], settle_for: timedelta
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._now = now
        self._settle_for = settle_for

    async def sweep(self) -> int:
        """Publish leftovers of every bucket; returns how many facts there were.

        Raises
        ------
        ExceptionGroup
            Some buckets could not be swept; the others were.
        """
        total = 0
        failures: list[Exception] = []
        for bucket in range(self._store.buckets):
            try:
                total += await self._sweep(bucket)
            except Exception as error:  # one bucket's leftovers don't hold up the others
                failures.append(error)
        if total:
            log_event("outbox swept", facts=total)
        if failures:
            raise ExceptionGroup(f"the outboxes of {len(failures)} buckets couldn't be swept", failures)
        return total

    async def _sweep(self, bucket: int) -> int:
        rows = [row async for row in self._store.outbox(bucket)]
        if not rows or not self._settled(rows):
            return 0
        rows.sort(key=lambda row: (row["createdAt"], row["RowKey"]))
        await self._publisher.publish([Fact(bucket, unpack(row).encode()) for row in rows])
        await self._store.delete(bucket, [row["RowKey"] for row in rows])
        return len(rows)

    def _settled(self, rows: list[Row]) -> bool:
        """Whole buckets only: publishing old rows while younger ones are under way would break a key's order."""
        newest = max(row["createdAt"].astimezone(UTC) for row in rows)
        return bool(self._now() - newest >= self._settle_for)
