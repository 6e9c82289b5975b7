"""Publishes what was committed: facts to Event Hubs in the order of their keys, commands to their lanes.

The order of a key's facts holds whoever publishes them: a commit knows every earlier fact of its key that may be
unpublished (the head row's ETag would have refused it otherwise), and publishes those first. Repeats are possible,
gaps and swaps aren't: the first copy of each fact comes in order.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from shared.messages import Lane, Letter
from shared.sending import EventPublisher, Fact, Lanes
from shared.telemetry import log_event

from .leases import Lease
from .rows import unpack
from .store import Row, StateStore
from .work import Fields, Work

__all__ = ["Outbox"]

_LEASE_SECONDS = 60
_CLEARING_SECONDS = 5.0
"""Longer, and the rows are left to the sweep."""
_CLEARING_AT_ONCE = 4
"""Batches whose rows are being deleted; the next one waits before it publishes more."""


class Outbox:
    """The way out.

    Parameters
    ----------
    settle_for:
        A sweep leaves keys alone whose oldest row is younger: their own batch is about to publish them.
    """

    def __init__(
        self,
        store: StateStore,
        publisher: EventPublisher,
        lanes: Lanes,
        *,
        now: Callable[[], datetime],
        settle_for: timedelta,
        fields: Fields | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._lanes = lanes
        self._now = now
        self._settle_for = settle_for
        self._fields = fields
        self._lease = Lease(store, "outbox", seconds=_LEASE_SECONDS, now=now)
        self._clearing: dict[asyncio.Task[None], set[str]] = {}

    async def publish(self, works: Iterable[Work]) -> None:
        """Publish what committed work has said, after what its aggregates had said before.

        The rows are deleted behind the caller's back, who needn't wait for that to complete its messages; whoever reads
        rows that this process may have published waits for `cleared` first.
        """
        rows: dict[int, dict[str, Row]] = {}
        for work in works:
            if work.said:
                mine = rows.setdefault(work.bucket, {})
                for row in (*work.aggregate.unpublished, *work.outbox_rows()):
                    mine.setdefault(row["RowKey"], row)
        published = {bucket: list(found.values()) for bucket, found in rows.items()}
        await self._publish(published)
        if published:
            while len(self._clearing) >= _CLEARING_AT_ONCE:
                await asyncio.wait(self._clearing, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._clear(published), name="outbox-clearing")
            self._clearing[task] = {row["subject"] for group in published.values() for row in group}
            task.add_done_callback(self._clearing.pop)

    async def cleared(self, key: str) -> None:
        """Return when no rows of a key that this process published are left, save those that the sweep will find."""
        if tasks := [task for task, keys in self._clearing.items() if key in keys]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Return when the rows of all that was published are deleted."""
        if self._clearing:
            await asyncio.wait(self._clearing)

    async def sweep(self) -> int:
        """Publish leftovers of every bucket, on one instance at a time; returns how many there were.

        Raises
        ------
        ExceptionGroup
            Some buckets could not be swept; the others were.
        """
        if not await self._lease.acquire():
            return 0
        total = 0
        failures: list[Exception] = []
        for bucket in range(self._store.buckets):
            try:
                total += await self._sweep(bucket)
            except Exception as error:  # one bucket's leftovers don't hold up the others
                failures.append(error)
        await self._lease.release()
        if total:
            log_event("outbox swept", rows=total)
        if failures:
            raise ExceptionGroup(f"the outboxes of {len(failures)} buckets couldn't be swept", failures)
        return total

    async def _sweep(self, bucket: int) -> int:
        rows = self._left_over([row async for row in self._store.outbox(bucket)])
        if rows:
            await self._publish({bucket: rows})
            await self._delete({bucket: rows})
            await self._lease.acquire()  # holds it longer
        return len(rows)

    def _left_over(self, rows: Sequence[Row]) -> list[Row]:
        """Every row of a key whose oldest row is old enough; rows come sorted by key and sequence."""
        keys: dict[str, list[Row]] = {}
        for row in rows:
            keys.setdefault(row["subject"], []).append(row)
        limit = self._now() - self._settle_for
        return [row for group in keys.values() if group[0]["createdAt"].astimezone(UTC) <= limit for row in group]

    async def _publish(self, rows: dict[int, list[Row]]) -> None:
        facts = [
            Fact(bucket, unpack(row).encode())
            for bucket, group in rows.items()
            for row in group
            if row["kind"] == "event"
        ]
        letters = [await self._letter(row) for group in rows.values() for row in group if row["kind"] == "command"]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publisher.publish(facts))
            for letter in letters:
                if letter.headers.lane is not Lane.ORDERED:
                    tasks.create_task(self._lanes.send(letter.headers, letter.body))
            tasks.create_task(self._send_in_order([one for one in letters if one.headers.lane is Lane.ORDERED]))

    async def _clear(self, rows: dict[int, list[Row]]) -> None:
        try:
            async with asyncio.timeout(_CLEARING_SECONDS):
                await self._delete(rows)
        except Exception as error:  # the sweep publishes them again: a repeat, and no loss
            log_event("published rows are left in the outbox", level=logging.WARNING, error=error)

    async def _delete(self, rows: dict[int, list[Row]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for bucket, group in rows.items():
                tasks.create_task(self._store.delete(bucket, [row["RowKey"] for row in group]))

    async def _letter(self, row: Row) -> Letter:
        text = unpack(row)
        return Letter.from_json(
            text if self._fields is None else await self._fields.decrypt_whole(text, ("outbox", row["RowKey"]))
        )

    async def _send_in_order(self, letters: Sequence[Letter]) -> None:
        """One key's commands one after the other: the broker may refuse an earlier one and take a later one."""
        keys: dict[str, list[Letter]] = {}
        for letter in letters:
            keys.setdefault(letter.headers.key, []).append(letter)

        async def send(group: Sequence[Letter]) -> None:
            for letter in group:
                await self._lanes.send(letter.headers, letter.body)

        async with asyncio.TaskGroup() as tasks:
            for group in keys.values():
                tasks.create_task(send(group))
