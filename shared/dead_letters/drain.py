"""What becomes of a message that the broker gave up: a dead letter, nothing where it is done, or another way round."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.messages import Category, Delivery, ErrorCode, Failure, Headers, Lane
from shared.ordered import Parking
from shared.sending import Lanes
from shared.telemetry import log_event

from .given_up import MAX_RETURNS, BodyKind, GivenUp, Place
from .inbox import InboxRecords
from .record import DeadLetter, unread_identity
from .store import DeadLetterStore
from .suspects import MOST_DEATHS, Suspects, headers_of

__all__ = ["Fate", "QueueDrain", "dead_letter_of"]

_TOO_OFTEN = "MaxDeliveryCountExceeded"
_SPREAD_SECONDS = 60.0

# The reasons that Service Bus gives by itself: "Overview of Service Bus dead-letter queues".
_REASONS: Mapping[str, tuple[Category, ErrorCode]] = {
    _TOO_OFTEN: (Category.TRANSIENT, ErrorCode.MAX_DELIVERIES_EXCEEDED),
    "TTLExpiredException": (Category.EXPIRED, ErrorCode.MESSAGE_EXPIRED),
    "HeaderSizeExceeded": (Category.INVALID, ErrorCode.DEAD_LETTERED),
    "Session ID is null": (Category.INVALID, ErrorCode.DEAD_LETTERED),
    "MaxTransferHopCountExceeded": (Category.PERMANENT, ErrorCode.DEAD_LETTERED),
}
_OTHER = (Category.PERMANENT, ErrorCode.DEAD_LETTERED)

IsErased = Callable[[Delivery, Headers], Awaitable[bool]]
HasPayloadHash = Callable[[Delivery, Headers, Mapping[str, Any]], Awaitable[bool]]


class Fate(StrEnum):
    """What became of one."""

    STORED = "stored"
    """It has its dead letter."""
    DONE = "done"
    """It had taken effect."""
    RETURNED = "returned"
    """It goes its way again: the broker gave it up with its batch, and the app never came to deal with it."""


class QueueDrain:
    """Decides about what lies in the dead-letter queues of the lanes, and does it.

    Where a binding fails for one message of a batch, the platform gives all of the batch back, until the broker gives
    up all of it. Such a neighbour was given up for its number of deliveries, has data as its body, isn't known to the
    inbox, and no two workers died of it: it goes back, with its id, properties and session, `MAX_RETURNS` times at
    most. On the ordered lane it waits, parked, before whatever of its key comes later.

    Parameters
    ----------
    is_erased:
        Whether the person whom a message is about was erased since it was accepted: nothing of what it says is stored.
    has_payload_hash:
        Whether an inbox row carries the hash of a message's data; not where it can't be read. Asked only
        for a message that the inbox knows as done: the broker may give up on one whose effects were committed.
    random:
        0 … 1: what comes back more than once comes at a time of its own, away from those that it came with.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        inbox: InboxRecords,
        lanes: Lanes,
        parking: Parking,
        suspects: Suspects,
        *,
        has_payload_hash: HasPayloadHash,
        is_erased: IsErased | None = None,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._lanes = lanes
        self._parking = parking
        self._suspects = suspects
        self._has_payload_hash = has_payload_hash
        self._is_erased = is_erased
        self._now = now
        self._random = random

    async def drain(
        self,
        lane: Lane,
        messages: Sequence[GivenUp],
        complete: Callable[[GivenUp], Awaitable[None]],
        look: Callable[[], Awaitable[Sequence[Place]]] | None = None,
    ) -> list[GivenUp]:
        """Deal with each message and complete it; returns those that storage or broker had no answer for.

        On the ordered lane one after the other: nothing of a session goes before what failed of it, or what another
        drain has in hand, which a `look` into the queue tells.
        """
        fates: Counter[Fate] = Counter()
        failed: list[GivenUp] = []
        stopped: set[str | None] = set()
        lying = await look() if lane is Lane.ORDERED and look is not None else ()
        behind = _behind(messages, lying)

        async def deal_with(message: GivenUp) -> None:
            try:
                if lane is Lane.ORDERED and (message.session_id in stopped or id(message) in behind):
                    failed.append(message)
                    return
                fate = await self.take(lane, message)
                await complete(message)
                fates[fate] += 1
            except Exception as error:
                log_event("dead letter not drained", level=logging.ERROR, lane=lane.value, error=error)
                failed.append(message)
                stopped.add(message.session_id)

        if lane is Lane.ORDERED:
            for message in sorted(messages, key=lambda one: one.delivery.sequence_number):
                await deal_with(message)
        else:
            await asyncio.gather(*(deal_with(message) for message in messages))
        log_event(
            "dead-letter queue drained",
            level=logging.WARNING,
            lane=lane.value,
            received=len(messages),
            stored=fates[Fate.STORED],
            done=fates[Fate.DONE],
            returned=fates[Fate.RETURNED],
        )
        return failed

    async def take(self, lane: Lane, message: GivenUp) -> Fate:
        """Deal with one message; what is raised is storage's or the broker's own, and it must come again."""
        headers = headers_of(message.delivery)
        row = None if headers is None else await self._inbox.find(str(headers.message_id), headers.key)
        if headers is not None and row is not None and row["status"] == "done":
            if await self._has_payload_hash(message.delivery, headers, row):
                return Fate.DONE
        elif (row is None or row["status"] == "replaying") and await self._goes_back(message):
            await self._send_back(lane, message, headers)
            return Fate.RETURNED
        if headers is not None and self._is_erased is not None and await self._is_erased(message.delivery, headers):
            message = replace(message, delivery=message.delivery.erased())
        letter = letter_of(lane, message, headers, now=self._now())
        await self._store.put(letter)
        if headers is not None:
            headers = replace(headers, lane=lane)
            await self._inbox.died(headers, code=letter.code, reason=letter.reason, now=letter.last_failure)
        await self._suspects.forget(message.delivery)
        letter.log(lane)
        return Fate.STORED

    async def _goes_back(self, message: GivenUp) -> bool:
        if message.reason != _TOO_OFTEN or message.kind is not BodyKind.DATA or message.returns >= MAX_RETURNS:
            return False
        return await self._suspects.deaths(message.delivery) < MOST_DEATHS

    async def _send_back(self, lane: Lane, message: GivenUp, headers: Headers | None) -> None:
        now = self._now()
        if lane is Lane.ORDERED and headers is not None:
            waiting = replace(message.delivery, properties=message.properties)
            if not await self._parking.add(headers.key, waiting):
                await self._parking.park(
                    headers.key, waiting, message_id=str(headers.message_id), until=now, reason=message.reason
                )
            return
        apart = _SPREAD_SECONDS * message.returns * self._random()
        await self._lanes.forward(lane, message.again(), when=now + timedelta(seconds=apart) if apart else None)


def _behind(messages: Sequence[GivenUp], lying: Sequence[Place]) -> set[int]:
    """Those of some messages that lie behind others of their session, by identity."""
    received = {one.delivery.sequence_number for one in messages}
    first: dict[str, int] = {}
    for place in lying:
        if place.session_id is not None and place.sequence_number not in received:
            first[place.session_id] = min(place.sequence_number, first.get(place.session_id, place.sequence_number))
    return {
        id(one) for one in messages if one.session_id in first and first[one.session_id] < one.delivery.sequence_number
    }


def letter_of(lane: Lane, message: GivenUp, headers: Headers | None, *, now: datetime) -> DeadLetter:
    """The dead letter of a message that the broker gave up; the broker's reason leaves the properties."""
    delivery = replace(message.delivery, properties=message.properties)
    letter = DeadLetter.of_message(lane, delivery, headers, failure_of(message), now=now, queue="deadLetterQueue")
    return replace(letter, body_kind=message.kind.value)


def failure_of(message: GivenUp) -> Failure:
    """Why the broker gave it up, in our words."""
    category, code = _REASONS.get(message.reason, _OTHER)
    why = ": ".join(part for part in (message.reason, message.description) if part) or "the broker gave no reason"
    if message.kind is not BodyKind.DATA:
        why += f"; its body is an AMQP {message.kind}, and only data can be taken"
        if message.reason == _TOO_OFTEN:
            category, code = Category.INVALID, ErrorCode.DEAD_LETTERED
    return Failure(category, code, why)


def dead_letter_of(message: GivenUp, source: str, *, now: datetime) -> DeadLetter:
    """The dead letter of a message of a queue that is no lane, as it lies in the queue.

    Parameters
    ----------
    source:
        The road that the dead letter names.
    """
    delivery = replace(message.delivery, properties=message.properties)
    found = DeadLetter.of(
        delivery,
        None,
        failure_of(message),
        identity=unread_identity(source, delivery.message_id, delivery.sequence_number),
        source=source,
        position={"deadLetterQueue": delivery.sequence_number},
        now=now,
    )
    return replace(found, body_kind=message.kind.value)
