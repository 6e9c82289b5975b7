"""Parked keys of the ordered lane: whose turn it is, and who waits.

Every change goes under the parked row's ETag in one transaction, so whatever dies leaves a queue without gaps and
without swaps. What is put there twice is found out by the inbox when its turn comes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.messages import Delivery
from shared.state import StateStore, bucket_of, inbox_key, parked_key, partition_key, waiting_key
from shared.tables import Create, Delete, Operation, Replace, again_on_conflict, etag_of

from .rows import FIRST, ParkedKey, Turn, delivery_of, waiting_columns

__all__ = ["Parking"]

T = TypeVar("T")


class Parking:
    """Parks keys, and keeps the messages that wait behind a parked one."""

    def __init__(self, store: StateStore, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def find(self, keys: Collection[str]) -> dict[str, ParkedKey]:
        """Those of some keys that are parked: a point read each."""
        buckets: dict[int, dict[str, str]] = {}
        for key in keys:
            buckets.setdefault(self._bucket(key), {})[parked_key(key)] = key
        found: dict[str, ParkedKey] = {}
        for bucket, names in buckets.items():
            for row_key, row in (await self._store.find(bucket, list(names))).items():
                found[names[row_key]] = ParkedKey.from_row(row)
        return found

    async def due(self) -> AsyncIterator[ParkedKey]:
        """The keys whose first message may be tried now."""
        now = self._now()
        async for parked in self.all():
            if parked.until is not None and parked.until <= now:
                yield parked

    async def all(self) -> AsyncIterator[ParkedKey]:
        """Every parked key."""
        for bucket in range(self._store.buckets):
            async for row in self._store.parked(bucket):
                yield ParkedKey.from_row(row)

    async def claims(self) -> AsyncIterator[str]:
        """The claims of all messages that wait."""
        for bucket in range(self._store.buckets):
            async for name in self._store.waiting_claims(bucket):
                yield name

    async def turn(self, parked: ParkedKey) -> Turn | None:
        """The message whose turn it is; None where it is gone already."""
        row_key = waiting_key(parked.key, parked.first)
        row = (await self._store.find(self._bucket(parked.key), [row_key])).get(row_key)
        if row is None:
            return None
        return Turn(key=parked.key, number=parked.first, delivery=delivery_of(row), etag=etag_of(row))

    async def add(self, key: str, delivery: Delivery) -> bool:
        """Have a message wait behind the others; False where the key is parked no more."""

        async def add() -> bool:
            parked = (await self.find([key])).get(key)
            if parked is None:
                return False
            new = replace(parked, after=parked.after + 1)
            await self._commit(parked, new, [Create(self._row(key, parked.after, delivery))])
            return True

        return await _again(key, add)

    async def park(self, key: str, delivery: Delivery, *, message_id: str, until: datetime, reason: str) -> bool:
        """Put a message that is to be tried again before all others; False where it was dealt with meanwhile.

        The parked row is read before the inbox: whoever deals with the message after that and parks the key for a later
        one changes the parked row, and is found out by its ETag.
        """

        async def park() -> bool:
            parked = (await self.find([key])).get(key)
            if await self._status(key, message_id) not in (None, "replaying"):
                return False
            if parked is not None and parked.blocked_by not in (None, message_id):
                return await self.add(key, delivery)  # somebody else's turn: it can't go before that
            first, after = (FIRST, FIRST + 1) if parked is None else (parked.first - 1, parked.after)
            new = ParkedKey(key=key, first=first, after=after, until=until, reason=reason, since=self._now())
            await self._commit(parked, new, [Create(self._row(key, first, delivery))])
            return True

        return await _again(key, park)

    async def postpone(self, turn: Turn, delivery: Delivery, *, until: datetime, reason: str) -> bool:
        """Try the first message again later, as it is now; False where it is another one meanwhile."""
        operation = Replace(self._row(turn.key, turn.number, delivery), turn.etag)
        return await self._change_turn(turn, operation, lambda parked: replace(parked, until=until, reason=reason))

    async def release(self, turn: Turn) -> bool:
        """Forget the first message, which was dealt with; the key is free when nothing waits and nothing blocks."""
        operation = Delete(self._place(turn.key, waiting_key(turn.key, turn.number)), turn.etag)
        return await self._change_turn(turn, operation, lambda parked: replace(parked, first=turn.number + 1))

    async def _change_turn(self, turn: Turn, operation: Operation, change: Callable[[ParkedKey], ParkedKey]) -> bool:
        """A number may be given again to another message once the key was free: the ETag tells them apart."""

        async def change_turn() -> bool:
            parked = (await self.find([turn.key])).get(turn.key)
            if parked is None or parked.first != turn.number:
                return False
            found = await self.turn(parked)
            if found is None or found.etag != turn.etag:
                return False
            await self._commit(parked, change(parked), [operation])
            return True

        return await _again(turn.key, change_turn)

    async def block(self, key: str, inbox_row: Mapping[str, Any], *, its_turn: bool = True) -> str:
        """Record a message's death and hold its key, both or neither; return the status that the inbox has then.

        A message that was dealt with before, by another delivery, blocks nothing; nor does one whose turn it isn't
        while its key is parked: the key is blocked already.
        """
        message = str(inbox_row["RowKey"])

        async def block() -> str:
            rows = await self._store.find(self._bucket(key), [parked_key(key), message])
            known = rows.get(message)
            if known is not None and known["status"] != "replaying":
                return str(known["status"])
            death = Create(inbox_row) if known is None else Replace(inbox_row, etag_of(known))
            parked = ParkedKey.from_row(rows[parked_key(key)]) if parked_key(key) in rows else None
            new = parked or ParkedKey(key=key, since=self._now())
            blocked_by = message.partition(":")[2]
            if parked is None or (its_turn and parked.blocked_by in (None, blocked_by)):
                reason = str(inbox_row.get("reason", ""))
                new = replace(new, until=None, blocked_by=blocked_by, reason=reason, since=self._now())
            await self._commit(parked, new, [death])
            return "dead"

        return await _again(key, block)

    async def unblock(self, key: str, message_id: str, *, done_only: bool) -> bool:
        """Let a key go on that a message has blocked; with `done_only` just where the inbox says that it is done."""

        async def unblock() -> bool:
            parked = (await self.find([key])).get(key)
            if parked is None or parked.blocked_by != message_id:
                return False
            if done_only and await self._status(key, message_id) != "done":
                return False
            now = self._now()
            await self._commit(parked, replace(parked, until=now, blocked_by=None, reason="", since=now), [])
            return True

        return await _again(key, unblock)

    async def give_up(self, older_than: timedelta) -> list[ParkedKey]:
        """Let keys go on whose dead letters are past their retention, so that nobody can decide about them any more."""
        before = self._now() - older_than
        given_up = []
        async for parked in self.all():
            if parked.blocked_by is not None and parked.since <= before:
                await self.unblock(parked.key, parked.blocked_by, done_only=False)
                given_up.append(parked)
        return given_up

    async def _status(self, key: str, message_id: str) -> str | None:
        row_key = inbox_key(message_id)
        row = (await self._store.find(self._bucket(key), [row_key])).get(row_key)
        return None if row is None else str(row["status"])

    async def _commit(self, known: ParkedKey | None, new: ParkedKey, others: Sequence[Operation]) -> None:
        row = {**self._place(new.key, parked_key(new.key)), **new.columns()}
        change: Operation
        if known is None:
            change = Create(row)
        elif new.is_empty and new.blocked_by is None:
            change = Delete(row, known.etag)
        else:
            change = Replace(row, known.etag)
        await self._store.commit(self._bucket(new.key), [change, *others])

    def _row(self, key: str, number: int, delivery: Delivery) -> dict[str, Any]:
        return {**self._place(key, waiting_key(key, number)), **waiting_columns(delivery)}

    def _place(self, key: str, row_key: str) -> dict[str, Any]:
        return {"PartitionKey": partition_key(self._bucket(key)), "RowKey": row_key}

    def _bucket(self, key: str) -> int:
        return bucket_of(key, self._store.buckets)


async def _again(key: str, attempt: Callable[[], Awaitable[T]]) -> T:
    return await again_on_conflict(attempt, subject=f"the parked key {key!r}")
