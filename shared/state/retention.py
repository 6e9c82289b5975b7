"""Forgets messages that were dealt with long ago."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.telemetry import log_event

from .store import StateStore

__all__ = ["InboxSweeper"]

_GROUP = 100


class InboxSweeper:
    """Deletes inbox records after their retention; a message that comes again after that is a new one.

    Parameters
    ----------
    retention:
        Must outlast every queue's time-to-live and the dead letters' retention.
    budget:
        Seconds one sweep may take; the next one goes on with what is left.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        retention: timedelta,
        now: Callable[[], datetime],
        budget: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._retention = retention
        self._now = now
        self._budget = budget
        self._clock = clock

    async def sweep(self) -> int:
        """Delete what is old enough; returns how many records there were."""
        before = self._now() - self._retention
        deadline = self._clock() + self._budget
        total = 0
        for bucket in range(self._store.buckets):
            if self._clock() > deadline:
                break
            total += await self._sweep(bucket, before, deadline)
        if total:
            log_event("inbox swept", records=total)
        return total

    async def _sweep(self, bucket: int, before: datetime, deadline: float) -> int:
        total = 0
        group: list[str] = []
        async for row_key in self._store.settled(bucket, before=before):
            group.append(row_key)
            if len(group) == _GROUP:
                await self._store.delete(bucket, group)
                total += len(group)
                group = []
                if self._clock() > deadline:
                    return total
        await self._store.delete(bucket, group)
        return total + len(group)
