"""The ordered lane: a message that fails holds its own key; the later ones of that key wait for their turn."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from shared.messages import Headers, Lane
from shared.state import Head, Lease, Parking, Waiting
from shared.telemetry import log_event

from .outcomes import Dead, Delivery, Done, Duplicate, Item, Parked, RetryLater
from .running import Pauses
from .settling import Settler

__all__ = ["OrderedKeys", "ParkingDrain"]

_KEYS_AT_ONCE = 16


class OrderedKeys:
    """Decides whose turn it is, and gives effect to outcomes without letting a later message of a key go first."""

    def __init__(self, parking: Parking, settler: Settler, *, now: Callable[[], datetime]) -> None:
        self._parking = parking
        self._settler = settler
        self._now = now

    async def whose_turn(self, items: Sequence[Item]) -> list[Item]:
        """Those whose turn it is; the others are among the waiting ones when this returns.

        The message that blocks its key is the only one that may pass: its replay, or a second delivery of it.
        """
        parked = await self._parking.find([_headers(item).key for item in items])
        turn: list[Item] = []
        for item in items:
            headers = _headers(item)
            known = parked.get(headers.key)
            item.holds_key = known is not None and known.blocked_by == str(headers.message_id)
            if known is None or item.holds_key or not await self._parking.add(headers.key, _waiting(item)):
                turn.append(item)
            else:
                item.outcome = Parked()
        return turn

    async def settle(self, item: Item) -> None:
        """Return when the original may be completed and the next message of its key may look."""
        headers = _headers(item)
        match item.outcome:
            case RetryLater() as retry:
                copy, seconds = await self._settler.put_off(Lane.ORDERED, item, headers, retry)
                await self._parking.park(
                    headers.key,
                    _waiting(item, copy),
                    message_id=str(headers.message_id),
                    until=self._now() + timedelta(seconds=seconds),
                    reason=retry.failure.reason,
                )
            case Dead():
                await self._settler.settle(Lane.ORDERED, item)  # the death and the block are one transaction
            case Done() | Duplicate() if item.holds_key:
                await self._parking.unblock(headers.key, str(headers.message_id), done_only=True)

    async def settle_head(self, item: Item, head: Head) -> None:
        """The same for a message that has waited for its turn."""
        match item.outcome:
            case RetryLater() as retry:
                copy, seconds = await self._settler.put_off(Lane.ORDERED, item, _headers(item), retry)
                until = self._now() + timedelta(seconds=seconds)
                await self._parking.postpone(head, _waiting(item, copy), until=until, reason=retry.failure.reason)
            case Dead():
                await self._settler.settle(Lane.ORDERED, item)
                await self._parking.release(head)
            case _:
                await self._parking.release(head)


class Processor(Protocol):
    """What processes one message: the batch processor."""

    def take_turn(self, delivery: Delivery) -> Awaitable[Item]:
        """The message with its outcome."""
        ...


class ParkingDrain:
    """Processes what waits: key by key in order, several keys side by side.

    Parameters
    ----------
    lease:
        Keeps other instances from doing the same work; order and effects don't depend on it.
    budget:
        Seconds within which a new message may be begun; the next drain goes on with what is left.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        parking: Parking,
        ordered: OrderedKeys,
        processor: Processor,
        *,
        lease: Lease,
        pauses: Pauses | None = None,
        now: Callable[[], datetime],
        budget: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parking = parking
        self._ordered = ordered
        self._processor = processor
        self._lease = lease
        self._pauses = pauses
        self._now = now
        self._budget = budget
        self._clock = clock
        self._places = asyncio.Semaphore(_KEYS_AT_ONCE)

    async def drain(self) -> int:
        """Process the keys that are due; returns how many messages got an outcome.

        Raises
        ------
        ExceptionGroup
            Some keys could not be drained; they wait as before. The others were drained.
        """
        if self._pauses is not None and await self._pauses.holding(lane=Lane.ORDERED.value) is not None:
            return 0
        if not await self._lease.acquire():
            return 0
        outcomes: Counter[type] = Counter()
        deadline = self._clock() + self._budget
        keys = [parked.key async for parked in self._parking.due()]
        results = await asyncio.gather(*(self._drain(key, deadline, outcomes) for key in keys), return_exceptions=True)
        await self._lease.release()
        if keys:
            log_event(
                "parking drained",
                keys=len(keys),
                done=outcomes[Done],
                duplicates=outcomes[Duplicate],
                retried=outcomes[RetryLater],
                dead=outcomes[Dead],
            )
        _raise(results)
        return outcomes.total()

    async def _drain(self, key: str, deadline: float, outcomes: Counter[type]) -> None:
        async with self._places:
            while self._clock() < deadline:
                parked = (await self._parking.find([key])).get(key)
                if parked is None or parked.until is None or parked.until > self._now():
                    return
                head = await self._parking.head(parked)
                if head is None:  # somebody else has moved on; the next round sees where
                    await asyncio.sleep(0)
                    continue
                item = await self._processor.take_turn(self._delivery(head.waiting))
                await self._ordered.settle_head(item, head)
                outcomes[type(item.outcome)] += 1

    def _delivery(self, waiting: Waiting) -> Delivery:
        """Attempts and the time they may take begin when it is a message's turn, not while it waits for others."""
        properties: dict[str, Any] = dict(waiting.properties)
        if properties.get("attempt") == 1:
            properties["firstAttemptAt"] = self._now().astimezone(UTC).isoformat()
        return Delivery(
            body=waiting.body,
            properties=properties,
            message_id=waiting.message_id,
            sequence_number=waiting.sequence_number,
            delivery_count=waiting.delivery_count,
        )


def _raise(results: Sequence[BaseException | None]) -> None:
    for result in results:
        if result is not None and not isinstance(result, Exception):
            raise result
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        log_event("parking not drained", level=logging.ERROR, error=failures[0], keys=len(failures))
        raise ExceptionGroup(f"{len(failures)} parked keys couldn't be drained", failures)


def _headers(item: Item) -> Headers:
    if item.headers is None:
        raise LookupError("the message doesn't say which key it belongs to")
    return item.headers


def _waiting(item: Item, headers: Headers | None = None) -> Waiting:
    """The message as it came, or as its next try."""
    delivery = item.delivery
    known = replace(headers or _headers(item), lane=Lane.ORDERED)
    changed = {str(name): value for name, value in known.to_properties().items()}
    return Waiting(
        body=delivery.body,
        properties={**delivery.properties, **changed},
        message_id=known.broker_id,
        sequence_number=delivery.sequence_number,
        delivery_count=delivery.delivery_count,
    )
