"""Keeps deliveries: a row for each event and subscription, with the event and all that came of it.

A subscription's rows are one partition, the newest first. Beside them stand those of its rows that wait in order
(`~next:`), and who sends them now (`~turn`).
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from pydantic_core import to_json

from shared.messages import CloudEvent, rfc3339
from shared.state import TooLarge, pack, unpack
from shared.tables import Condition, Conflict, Create, Delete, Entity, Operation, Query, Replace, Table, Upsert

__all__ = ["Attempt", "Deliveries", "Delivery", "DeliveryPage", "DeliveryStatus", "Turn", "delivery_id", "message_id"]

_IDS = UUID("2f5a9d7e-1d0b-5f0e-8f43-7a0e6a0c9c31")
"""Ids of deliveries and of their messages are made from it: the same event to the same subscription is the same."""
_LATEST = 10**14
MOST_KEPT = 20
"""Attempts that a row shows."""
_LONGEST_TRIES = 15_000
"""Characters, each of which may be two UTF-16 units: a column holds 32,767."""
_GROUP, _GROUP_BYTES = 50, 1_500_000
_END = ":"
"""After every id of a delivery, and before what begins with a tilde."""
_NEXT, _TURN = "~next:", "~turn"
_SHORT = ("eventType", "eventId", "messageId", "status", "createdAt", "attempts", "tries", "nextAt", "order")


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    SENDING = "sending"
    """Sent at most once, and under way; or its outcome isn't known, where the process died."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after its attempts."""
    MISSED = "missed"
    """Its subscription was disabled."""

    @property
    def ended(self) -> bool:
        """Nothing more happens to it by itself."""
        return self not in (DeliveryStatus.PENDING, DeliveryStatus.SENDING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One POST: when, what came of it, in how many seconds, and the first characters of the answer.

    Attributes
    ----------
    answer:
        None where the body had protected values, which an answer may repeat.
    problem:
        Why there is no good answer.
    """

    at: datetime
    status: int | None
    seconds: float
    answer: str | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "at": rfc3339(self.at),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "answer": self.answer,
            "problem": self.problem,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event on its way to one subscription.

    Attributes
    ----------
    message_id:
        `webhook-id`: the same however often the event is sent.
    event:
        As it came from the event log, protected fields encrypted; None where only the rest was read.
    attempts:
        Those that counted.
    tries:
        The latest attempts as they are shown, those that didn't count too.
    order:
        Its place in the event log, for a subscription that is sent in order; empty for others.
    etag:
        Version of the stored row; None where it wasn't read.
    """

    subscription: str
    id: str
    message_id: str
    event_id: str
    event_type: str
    created_at: datetime
    event: str | None = None
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    tries: Sequence[Any] = ()
    next_at: datetime | None = None
    order: str = ""
    etag: str | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls, subscription: str, event: CloudEvent, body: str, *, identity: str = "", order: str = "", now: datetime
    ) -> "Delivery":
        """The delivery of an event as it begins; its id follows from the event, where it isn't known already."""
        return cls(
            subscription=subscription,
            id=identity or delivery_id(subscription, event),
            message_id=message_id(event),
            event_id=event.id,
            event_type=event.type,
            created_at=now,
            event=body,
            order=order,
        )


class Turn(NamedTuple):
    """Who sends the rows of a subscription in order: until when, and not before when the next one is tried."""

    holder: str
    until: datetime
    not_before: datetime
    etag: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryPage:
    """Some deliveries without their events, and the id after which there may be more."""

    found: list[Delivery]
    after: str | None


def message_id(event: CloudEvent) -> str:
    """What a receiver tells repeats by; Standard Webhooks allows no dot in it."""
    return f"msg_{uuid5(_IDS, json.dumps([event.source, event.id])).hex}"


def delivery_id(subscription: str, event: CloudEvent) -> str:
    """Ids sort the newest event first."""
    milliseconds = max(0, int(event.time.timestamp() * 1_000))
    named = json.dumps([subscription, event.source, event.id])
    return f"{_LATEST - milliseconds:014d}-{uuid5(_IDS, named).hex}"


class Deliveries:
    """The table of deliveries."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    async def begin(self, begun: Sequence[Delivery]) -> dict[str, bool]:
        """Create rows of one subscription; by id whether it is new. One that was known stays as it is."""
        new: dict[str, bool] = {}
        for group in _groups(begun):
            try:
                await self._table.submit([one for delivery in group for one in _created(delivery)])
                new |= {one.id: True for one in group}
            except Conflict:
                for delivery in group:
                    try:
                        await self._table.submit(_created(delivery))
                        new[delivery.id] = True
                    except Conflict:
                        new[delivery.id] = False
        return new

    async def get(self, subscription: str, identity: str) -> Delivery | None:
        """One with its event."""
        row = await self._table.get(subscription, identity) if "0" <= identity[:1] <= "9" else None
        return None if row is None else _delivery(row)

    async def put(self, changed: Delivery) -> None:
        """Replace a row, over the version that was read where one was; with it leaves the order what has ended.

        Raises
        ------
        Conflict
            Somebody else has changed it since.
        """
        row = _row(changed)
        operations: list[Operation] = [Upsert(row) if changed.etag is None else Replace(row, changed.etag)]
        if changed.order:
            own = {"PartitionKey": changed.subscription, "RowKey": _next(changed)}
            if changed.status.ended:
                waiting = await self._table.get(changed.subscription, _next(changed), select=["RowKey"])
                operations += [Delete(own)] if waiting is not None else []
            else:
                operations.append(Upsert({**own, "createdAt": changed.created_at}))
        await self._table.submit(operations)

    async def page(
        self, subscription: str, *, top: int, after: str = "", status: DeliveryStatus | None = None
    ) -> DeliveryPage:
        """The newest deliveries after an id, of one status or of any."""
        where = [Condition("RowKey", "gt", after)] if after else []
        where += [Condition("status", "eq", status.value)] if status else []
        query = Query(
            partition=subscription, end=_END, where=where, select=("PartitionKey", "RowKey", *_SHORT), size=top + 1
        )
        found: list[Delivery] = []
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
                found.append(_delivery(row))
                if len(found) > top:
                    break
        return DeliveryPage(found=found[:top], after=found[top - 1].id if len(found) > top else None)

    async def missed(self, subscription: str, *, since: datetime, most: int) -> list[Delivery]:
        """Of events since a moment those that never reached their receiver, the newest first, without the events."""
        last = f"{_LATEST - max(0, int(since.timestamp() * 1_000)):014d}-~"
        wanted = [DeliveryStatus.MISSED.value, DeliveryStatus.FAILED.value]
        where = [Condition("status", "in", wanted)]
        query = Query(partition=subscription, end=last, where=where, select=("PartitionKey", "RowKey", *_SHORT))
        found: list[Delivery] = []
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
                found.append(_delivery(row))
                if len(found) == most:
                    break
        return found

    async def overdue(self, before: datetime) -> AsyncGenerator[Delivery, None]:
        """Those that were due before a moment and still wait, without their events: reads the whole table."""
        where = [Condition("status", "eq", DeliveryStatus.PENDING.value), Condition("createdAt", "lt", before)]
        query = Query(where=where, select=("PartitionKey", "RowKey", *_SHORT))
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
                found = _delivery(row)
                if (found.next_at or found.created_at) < before:
                    yield found

    async def in_order(self, subscription: str, *, most: int) -> list[tuple[str, str]]:
        """Places and ids of deliveries that wait in order, the first one first."""
        query = Query(partition=subscription, first=_NEXT, end=_NEXT[:-1] + ";", select=["RowKey"], size=most)
        found: list[tuple[str, str]] = []
        async with aclosing(self._table.query(query)) as rows:
            async for row in rows:
                place = str(row["RowKey"])
                found.append((place, place.rpartition(":")[2]))
                if len(found) == most:
                    break
        return found

    async def forget(self, subscription: str, place: str) -> None:
        """Take a place out of the order whose delivery is gone."""
        with suppress(Conflict):
            await self._table.submit([Delete({"PartitionKey": subscription, "RowKey": place})])

    async def turn(self, subscription: str) -> Turn | None:
        """Who has the turn of a subscription, or had it last."""
        row = await self._table.get(subscription, _TURN)
        if row is None:
            return None
        return Turn(str(row["holder"]), _utc(row["until"]), _utc(row["notBefore"]), row.etag)

    async def take_turn(self, subscription: str, turn: Turn) -> Turn:
        """Write a turn over the version that was read; raises Conflict where somebody else was first."""
        row = {
            "PartitionKey": subscription,
            "RowKey": _TURN,
            "holder": turn.holder,
            "until": turn.until,
            "notBefore": turn.not_before,
            "createdAt": turn.until,
        }
        (etag,) = await self._table.submit([Create(row) if turn.etag is None else Replace(row, turn.etag)])
        return turn._replace(etag=etag)

    async def counts(self) -> dict[DeliveryStatus, int]:
        """How many deliveries there are of each status: reads the whole table."""
        found = dict.fromkeys(DeliveryStatus, 0)
        async with aclosing(self._table.query(Query(select=["RowKey", "status"]))) as rows:
            async for row in rows:
                if not str(row["RowKey"]).startswith("~"):
                    found[DeliveryStatus(row["status"])] += 1
        return found

    async def sweep(self, retention: timedelta, *, time_left: Callable[[], float]) -> bool:
        """Delete what began longer ago; False where time ran out."""
        where = [Condition("createdAt", "lt", self._now() - retention)]
        group: list[tuple[str, str]] = []
        async with aclosing(self._table.query(Query(where=where, select=["PartitionKey", "RowKey"]))) as rows:
            async for row in rows:
                key = (str(row["PartitionKey"]), str(row["RowKey"]))
                if group and (group[0][0] != key[0] or len(group) == 2 * _GROUP):
                    await self._delete(group)
                    group = []
                    if time_left() <= 0:
                        return False
                group.append(key)
        await self._delete(group)
        return True

    async def _delete(self, keys: Iterable[tuple[str, str]]) -> None:
        operations: list[Operation] = [Delete({"PartitionKey": part, "RowKey": row}) for part, row in keys]
        if not operations:
            return
        try:
            await self._table.submit(operations)
        except Conflict:  # some are gone: the next sweep takes the others
            return

    async def close(self) -> None:
        """Close the table's HTTP sessions."""
        await self._table.close()


def _next(delivery: Delivery) -> str:
    return f"{_NEXT}{delivery.order}:{delivery.id}"


def _created(delivery: Delivery) -> list[Operation]:
    operations: list[Operation] = [Create(_row(delivery))]
    if delivery.order and not delivery.status.ended:
        key = {"PartitionKey": delivery.subscription, "RowKey": _next(delivery), "createdAt": delivery.created_at}
        operations.append(Upsert(key))
    return operations


def _groups(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    groups: list[list[Delivery]] = []
    size = 0
    for one in deliveries:
        more = 2 * len(one.event or "") + 2_000
        if not groups or len(groups[-1]) == _GROUP or size + more > _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += more
    return groups


def _tries(tries: Sequence[Any]) -> str:
    """The latest that fit a text column."""
    kept = list(tries[-MOST_KEPT:])
    while len(text := to_json(kept).decode()) > _LONGEST_TRIES:
        kept.pop(0)
    return text


def _row(one: Delivery) -> dict[str, Any]:
    row: dict[str, Any] = {
        "PartitionKey": one.subscription,
        "RowKey": one.id,
        "messageId": one.message_id,
        "eventId": one.event_id,
        "eventType": one.event_type,
        "createdAt": one.created_at,
        "status": one.status.value,
        "attempts": one.attempts,
        "tries": _tries(one.tries),
        "order": one.order,
    }
    if one.next_at is not None:
        row["nextAt"] = one.next_at
    if one.event is not None:
        try:
            row |= pack(one.event)
        except TooLarge:  # no row holds it: it fails when it is to be sent, and hurts nobody else
            row["status"] = DeliveryStatus.FAILED.value
    return row


def _delivery(row: Entity) -> Delivery:
    is_whole = any(name.startswith("value") for name in row)
    return Delivery(
        subscription=str(row["PartitionKey"]),
        id=str(row["RowKey"]),
        message_id=str(row["messageId"]),
        event_id=str(row["eventId"]),
        event_type=str(row["eventType"]),
        created_at=_utc(row["createdAt"]),
        event=unpack(row) if is_whole else None,
        status=DeliveryStatus(row["status"]),
        attempts=int(row["attempts"]),
        tries=json.loads(row["tries"]),
        next_at=_utc(row["nextAt"]) if "nextAt" in row else None,
        order=str(row.get("order", "")),
        etag=row.etag,
    )


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)
