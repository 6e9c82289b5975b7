"""Messages that were delivered while they may not be processed, and how they come back once their pause has ended.

A row each, named after the message and its place in the queue, so that a second delivery changes nothing; it is deleted
after its lane has taken the message back. Whatever dies in between leaves a message twice, which the inbox finds out,
and never none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Self

from shared.messages import parse_rfc3339
from shared.state import delivery_columns, delivery_parts, row_safe
from shared.tables import Conflict, Delete, Entity, Query, Table, Upsert
from shared.telemetry import log_event

from .book import PauseBook, PauseState
from .pause import Kind

__all__ = ["Release", "SetAside", "SetAsideMessage"]

PARTITIONS = 16
"""So that no partition's 2,000 rows a second hold up a busy lane."""
_MAX_BYTES = 3 * 1024 * 1024
_MAX_ROWS = 100
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAsideMessage:
    """A message as its lane delivered it.

    Attributes
    ----------
    integration:
        Whose handler it is for, where it was read that far; else empty.
    """

    lane: str
    integration: str
    broker_id: str
    sequence_number: int
    body: bytes
    properties: Mapping[str, Any]
    since: datetime

    @property
    def place(self) -> dict[str, str]:
        """The keys of its row."""
        name = f"{self.lane}:{self.sequence_number}:{self.broker_id}"
        partition = int.from_bytes(sha256(name.encode()).digest()[:2], "big") % PARTITIONS
        return {"PartitionKey": _partition(partition), "RowKey": row_safe(name)}

    def columns(self) -> dict[str, Any]:
        """Its row."""
        return {
            **self.place,
            "lane": self.lane,
            "integration": self.integration,
            "brokerId": self.broker_id,
            "sequenceNumber": str(self.sequence_number),
            "since": self.since,
            "claim": str(self.properties.get("claim") or ""),
            **delivery_columns(self.body, self.properties),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read it back."""
        body, properties = delivery_parts(row)
        return cls(
            lane=row["lane"],
            integration=row["integration"],
            broker_id=row["brokerId"],
            sequence_number=int(row["sequenceNumber"]),
            body=body,
            properties=properties,
            since=row["since"].astimezone(UTC),
        )

    def back(self, now: datetime) -> Self:
        """As it goes back to its lane: the time that it spent here isn't counted against its attempts."""
        first = self.properties.get("firstAttemptAt")
        try:
            moment = parse_rfc3339(str(first), offset=False)
        except ValueError:
            return self
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        fresh = self.properties.get("attempt") == 1 or moment >= now  # the latter: whoever sent it had another clock
        later = now if fresh else min(now, moment + (now - self.since))
        moved = {"acceptedAt": first, **self.properties, "firstAttemptAt": later.astimezone(UTC).isoformat()}
        return replace(self, properties=moved)


class SetAside:
    """Keeps the messages, and gives them back."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    async def put(self, messages: Iterable[SetAsideMessage]) -> None:
        """Return when every message is kept, so that the originals may be completed."""
        partitions: dict[str, dict[str, dict[str, Any]]] = {}
        for message in messages:
            row = message.columns()
            partitions.setdefault(row["PartitionKey"], {})[row["RowKey"]] = row
        for rows in partitions.values():
            for group in _groups(list(rows.values())):
                await self._table.submit([Upsert(row) for row in group])

    async def give_back(
        self,
        is_free: Callable[[str, str], bool],
        send: Callable[[SetAsideMessage], Awaitable[None]],
        *,
        has_time: Callable[[], bool] = lambda: True,
    ) -> tuple[int, bool]:
        """Send back the messages of every lane and integration that is free, and forget them.

        What `send` raises for one holds up none of the others; the first error is raised when all had their try.

        Returns
        -------
        tuple[int, bool]
            How many were sent, and whether nothing that is free is left.
        """
        sent = 0
        failure: BaseException | None = None
        for number in range(PARTITIONS):
            async for some in self._of(number, is_free):
                if not has_time():
                    if failure is not None:
                        raise failure
                    return sent, False
                now = self._now()

                async def give(row: Entity, now: datetime = now) -> None:
                    await send(SetAsideMessage.from_row(row).back(now))

                results = await asyncio.gather(*map(give, some), return_exceptions=True)
                failure = failure or next((one for one in results if one is not None), None)
                if gone := [row for row, result in zip(some, results, strict=True) if result is None]:
                    await self._forget(gone)
                sent += len(gone)
        if failure is not None:
            raise failure
        return sent, True

    async def _of(self, number: int, is_free: Callable[[str, str], bool]) -> AsyncIterator[list[Entity]]:
        group: list[Entity] = []
        async for row in self._table.query(Query(partition=_partition(number), size=_AT_ONCE)):
            if is_free(row["lane"], row["integration"]):
                group.append(row)
            if len(group) == _AT_ONCE:
                yield group
                group = []
        if group:
            yield group

    async def _forget(self, rows: Sequence[Entity]) -> None:
        """A row that was written anew meanwhile is another delivery's, and waits for its own way back."""
        try:
            await self._table.submit([Delete(row, row.etag) for row in rows])
        except Conflict:
            for row in rows:
                with suppress(Conflict):
                    await self._table.submit([Delete(row, row.etag)])

    async def claims(self) -> AsyncIterator[str]:
        """The claims of all messages that are kept here: their payloads are in use."""
        for number in range(PARTITIONS):
            async for row in self._table.query(Query(partition=_partition(number), select=["claim"])):
                if row["claim"]:
                    yield str(row["claim"])

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many messages are kept, by lane and integration."""
        found: dict[tuple[str, str], int] = {}
        for number in range(PARTITIONS):
            async for row in self._table.query(Query(partition=_partition(number), select=["lane", "integration"])):
                whose = (str(row["lane"]), str(row["integration"]))
                found[whose] = found.get(whose, 0) + 1
        return found


def _partition(number: int) -> str:
    return f"aside-{number:02d}"


def _groups(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows that fit one transaction together: 100 of them, 4 MiB in base64."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        more = 4_096 + 4 * sum(len(value) for value in row.values() if isinstance(value, str | bytes)) // 3
        if group and (len(group) == _MAX_ROWS or size + more > _MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(row)
        size += more
    if group:
        yield group


SETTLE = timedelta(seconds=60)
"""For so long after its end an instance may still have known a pause, and set something aside: its batch's time."""


class Release:
    """Run every few seconds by one instance; costs one point read while no pause has ended.

    Parameters
    ----------
    send:
        Returns when the lane has taken the message.
    """

    def __init__(
        self,
        book: PauseBook,
        aside: SetAside,
        send: Callable[[SetAsideMessage], Awaitable[None]],
        *,
        now: Callable[[], datetime],
        budget: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._aside = aside
        self._send = send
        self._now = now
        self._budget = budget
        self._clock = clock

    async def run(self) -> int:
        """How many messages went back; what is left goes back the next time."""
        state = await self._book.state()
        ended = state.unreleased
        if not ended:
            return 0
        deadline = self._clock() + self._budget
        sent, all_sent = await self._aside.give_back(
            lambda lane, integration: not _holds(state, lane, integration),
            self._send,
            has_time=lambda: self._clock() < deadline,
        )
        if sent:
            log_event("set aside messages released", messages=sent)
        before = self._now() - SETTLE
        settled = [one for one in ended if one.ended_at is not None and one.ended_at <= before]
        if all_sent and settled:
            await self._book.released(settled)
        return sent


def _holds(state: PauseState, lane: str, integration: str) -> bool:
    if state.find(Kind.LANE, lane) is not None:
        return True
    return bool(integration) and state.find(Kind.INTEGRATION, integration) is not None
