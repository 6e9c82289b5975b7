"""Publishes what was committed: facts to Event Hubs in the order of their keys, commands to their lanes.

The order of a key's facts holds whoever publishes them: a commit knows every earlier fact of its key that may be
unpublished (the head row's ETag would have refused it otherwise), and publishes those first. Repeats are possible,
gaps and swaps aren't: the first copy of each fact comes in order.
"""

import asyncio
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

    async def publish(self, works: Iterable[Work]) -> None:
        """Publish what committed work has said, after what its aggregates had said before; then delete the rows."""
        rows: dict[int, dict[str, Row]] = {}
        for work in works:
            if work.said:
                mine = rows.setdefault(work.bucket, {})
                for row in (*work.aggregate.unpublished, *work.outbox_rows()):
                    mine.setdefault(row["RowKey"], row)
        await self._publish({bucket: list(found.values()) for bucket, found in rows.items()})

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
        async with asyncio.TaskGroup() as tasks:
            for bucket, group in rows.items():
                tasks.create_task(self._store.delete(bucket, [row["RowKey"] for row in group]))

    async def _letter(self, row: Row) -> Letter:
        text = unpack(row)
        return Letter.from_json(
            text if self._fields is None else await self._fields.open_whole(text, ("outbox", row["RowKey"]))
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
