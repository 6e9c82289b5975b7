"""The inbox: one row for each message that was dealt with, how a dead one gives way to a replay, and its retention."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.messages import PayloadHash
from shared.tables import Conflict, Create, Replace, again_on_conflict, etag_of
from shared.telemetry import log_event

from .store import Row, StateStore, bucket_of, inbox_key

__all__ = [
    "Inbox",
    "InboxSweeper",
    "is_edited",
]

_TRIES = 10
_BEFORE_EDIT = "BeforeEdit"
_HASHES = ("payloadSha256", "payloadHash")


def is_edited(row: Mapping[str, Any]) -> bool:
    """Whether a row that is `replaying` waits for an edited message, and for no other copy of it."""
    return any(f"{name}{_BEFORE_EDIT}" in row for name in _HASHES)


def _before_edit(row: Mapping[str, Any]) -> dict[str, Any]:
    """The payload hash that an edited one replaces, kept in case its message isn't sent."""
    return {f"{name}{_BEFORE_EDIT}": row[name] for name in _HASHES if name in row}


def _without_edit(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as it was before an edited message was to be sent; one that had no hash has none."""
    if not is_edited(row):
        return dict(row)
    kept = {name: value for name, value in row.items() if not name.endswith(_BEFORE_EDIT) and name not in _HASHES}
    return kept | {name: row[f"{name}{_BEFORE_EDIT}"] for name in _HASHES if f"{name}{_BEFORE_EDIT}" in row}


class Inbox:
    """The inbox rows of messages whose processing is over.

    A row is `dead`, is set to `replaying` when an operator replays its message, and ends as `done` or `dead` again.
    Whoever processes a `replaying` message updates the row under its ETag, so a replay takes effect once.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def find(self, message_id: str, key: str) -> Row | None:
        """The inbox row of a message, or None."""
        row_key = inbox_key(message_id)
        return (await self._store.find(self._bucket(key), [row_key])).get(row_key)

    async def reopen(
        self, message_id: str, key: str, *, replay: int, payload_hash: PayloadHash | None = None
    ) -> str | None:
        """Let a dead message be processed again; return what the row says after: None, `replaying` or `done`.

        Parameters
        ----------
        payload_hash:
            Of what the message says now, where an operator edited it: it takes the place of the one that died, in the
            same transaction, so that the edited copy alone takes effect.
        """

        async def reopen() -> str | None:
            row = await self.find(message_id, key)
            status = None if row is None else str(row["status"])
            if row is None or status == "done" or (status == "replaying" and row.get("replay") == replay):
                return status
            base = _without_edit(row)  # whoever edited it before may not have been able to take that back
            edited = {} if payload_hash is None else {**_before_edit(base), **payload_hash.columns()}
            await self._update(key, {**base, **edited, "status": "replaying", "replay": replay}, row)
            return "replaying"

        return await again_on_conflict(reopen, subject=f"the inbox record of {message_id}", tries=_TRIES)

    async def close(self, message_id: str, key: str, *, replay: int) -> None:
        """Take back what `reopen` did for this replay: its message was not sent, or shall have no effect any more."""

        async def close() -> None:
            row = await self.find(message_id, key)
            if row is not None and row["status"] == "replaying" and row.get("replay") == replay:
                await self._update(key, {**_without_edit(row), "status": "dead"}, row)

        await again_on_conflict(close, subject=f"the inbox record of {message_id}", tries=_TRIES)

    async def record_death(self, key: str, row: Mapping[str, Any]) -> str:
        """Record a death unless the message was dealt with; return the status that the inbox has then."""

        async def record() -> str:
            """Without a look at first: hardly any death was recorded before."""
            try:
                await self._store.commit(self._bucket(key), [Create(row)])
            except Conflict:
                known = (await self._store.find(self._bucket(key), [row["RowKey"]])).get(row["RowKey"])
                if known is None:
                    raise
                if known["status"] != "replaying":
                    return str(known["status"])
                await self._update(key, row, known)
            return "dead"

        return await again_on_conflict(record, subject=f"the inbox record {row['RowKey']}", tries=_TRIES)

    async def _update(self, key: str, row: Mapping[str, Any], known: Row) -> None:
        await self._store.commit(self._bucket(key), [Replace(row, etag_of(known))])

    def _bucket(self, key: str) -> int:
        return bucket_of(key, self._store.buckets)


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
