"""Publishes what was committed: events to Event Hubs in the order of their keys, commands to their lanes.

The order of a key's events holds whoever publishes them: a commit knows every earlier event of its key that may be
unpublished (the sequence row's ETag would have refused it otherwise), and publishes those first. Repeats are possible,
gaps and swaps aren't: the first copy of each event comes in order.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared.messages import Lane, OutgoingCommand
from shared.privacy import FieldProtection
from shared.sending import EventPublisher, Lanes, OutgoingEvent
from shared.state import Row, StateStore, unpack
from shared.telemetry import Metrics, log_event
from shared.work import Work

__all__ = ["Outbox", "OutboxRows"]

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
        fields: FieldProtection | None = None,
    ) -> None:
        self.rows = OutboxRows(store)
        self._store = store
        self._publisher = publisher
        self._lanes = lanes
        self._now = now
        self._settle_for = settle_for
        self._fields = fields

    async def publish(self, works: Iterable[Work]) -> None:
        """Publish what committed work has emitted, after what its aggregates had emitted before.

        The rows are deleted behind the caller's back, who needn't wait for that to complete its messages.
        """
        rows: dict[int, dict[str, Row]] = {}
        for work in works:
            if work.emitted:
                mine = rows.setdefault(work.bucket, {})
                for row in (*work.aggregate.unpublished, *work.outbox_rows()):
                    mine.setdefault(row["RowKey"], row)
        published = {bucket: list(found.values()) for bucket, found in rows.items()}
        await self._publish(published)
        if published:
            await self.rows.delete_behind(published)

    async def close(self) -> None:
        """Return when the rows of all that was published are deleted."""
        await self.rows.close()

    async def sweep(self) -> int:
        """Publish leftovers of every bucket; returns how many there were. Two sweeps at once repeat events, no more.

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
            log_event("outbox swept", rows=total)
        if failures:
            raise ExceptionGroup(f"the outboxes of {len(failures)} buckets couldn't be swept", failures)
        return total

    async def _sweep(self, bucket: int) -> int:
        rows = self._left_over([row async for row in self._store.outbox(bucket)])
        if rows:
            for row in rows:
                Metrics.outbox_lag.record((self._now() - row["createdAt"].astimezone(UTC)).total_seconds())
            await self._publish({bucket: rows})
            await self.rows.delete({bucket: rows})
        return len(rows)

    def _left_over(self, rows: Sequence[Row]) -> list[Row]:
        """Every row of a key whose oldest row is old enough; rows come sorted by key and sequence."""
        keys: dict[str, list[Row]] = {}
        for row in rows:
            keys.setdefault(row["subject"], []).append(row)
        limit = self._now() - self._settle_for
        return [row for group in keys.values() if group[0]["createdAt"].astimezone(UTC) <= limit for row in group]

    async def _publish(self, rows: RowsByBucket) -> None:
        events = [
            OutgoingEvent(bucket, unpack(row).encode())
            for bucket, group in rows.items()
            for row in group
            if row["kind"] == "event"
        ]
        commands = [await self._command(row) for group in rows.values() for row in group if row["kind"] == "command"]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publisher.publish(events))
            for command in commands:
                if command.headers.lane is not Lane.ORDERED:
                    tasks.create_task(self._lanes.send(command.headers, command.body))
            tasks.create_task(self._send_in_order([one for one in commands if one.headers.lane is Lane.ORDERED]))

    async def _command(self, row: Row) -> OutgoingCommand:
        text = unpack(row)
        if self._fields is not None:
            text = await self._fields.decrypt_whole(text, ("outbox", row["RowKey"]))
        return OutgoingCommand.from_json(text)

    async def _send_in_order(self, commands: Sequence[OutgoingCommand]) -> None:
        """One key's commands one after the other: the broker may refuse an earlier one and take a later one."""
        keys: dict[str, list[OutgoingCommand]] = {}
        for command in commands:
            keys.setdefault(command.headers.key, []).append(command)

        async def send(group: Sequence[OutgoingCommand]) -> None:
            for command in group:
                await self._lanes.send(command.headers, command.body)

        async with asyncio.TaskGroup() as tasks:
            for group in keys.values():
                tasks.create_task(send(group))
