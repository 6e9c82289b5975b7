"""Brings what the broker dead-lettered by itself to the one store, with the broker's own reason."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from shared.messages import Category, Delivery, ErrorCode, Failure, Headers, Lane, MessageError
from shared.telemetry import log_event

from .inbox import InboxRecords
from .record import DeadLetter
from .store import DeadLetterStore

__all__ = ["QueueDrain"]

_REASON = "DeadLetterReason"
_DESCRIPTION = "DeadLetterErrorDescription"

# The reasons that Service Bus gives by itself: "Overview of Service Bus dead-letter queues".
_REASONS: Mapping[str, tuple[Category, ErrorCode]] = {
    "MaxDeliveryCountExceeded": (Category.TRANSIENT, ErrorCode.MAX_DELIVERIES_EXCEEDED),
    "TTLExpiredException": (Category.EXPIRED, ErrorCode.MESSAGE_EXPIRED),
    "HeaderSizeExceeded": (Category.INVALID, ErrorCode.DEAD_LETTERED),
    "Session ID is null": (Category.INVALID, ErrorCode.DEAD_LETTERED),
    "MaxTransferHopCountExceeded": (Category.PERMANENT, ErrorCode.DEAD_LETTERED),
}
_OTHER = (Category.PERMANENT, ErrorCode.DEAD_LETTERED)

IsErased = Callable[[Delivery, Headers], Awaitable[bool]]
HasPayloadHash = Callable[[Delivery, Headers, Mapping[str, Any]], Awaitable[bool]]


class QueueDrain:
    """Empties the dead-letter queues of the lanes into the store.

    Parameters
    ----------
    is_erased:
        Whether the person whom a message is about was erased since it was accepted: nothing of what it says is stored.
    has_payload_hash:
        Whether an inbox row carries the hash of a message's data; not where it can't be read. Asked only
        for a message that the inbox knows as done: the broker may give up on one whose effects were committed.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        inbox: InboxRecords,
        *,
        has_payload_hash: HasPayloadHash,
        is_erased: IsErased | None = None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._has_payload_hash = has_payload_hash
        self._is_erased = is_erased
        self._now = now

    async def drain(self, lane: Lane, messages: Sequence[Delivery]) -> None:
        """Return when every message is stored; what is raised is storage's own, and the batch must come again."""
        outcomes: Counter[str] = Counter()
        async with asyncio.TaskGroup() as tasks:
            taken = [tasks.create_task(self._take(lane, message)) for message in messages]
        outcomes.update(task.result() for task in taken)
        log_event(
            "dead-letter queue drained",
            level=logging.WARNING,
            lane=lane.value,
            received=len(messages),
            stored=outcomes["stored"],
            done=outcomes["done"],
        )

    async def _take(self, lane: Lane, message: Delivery) -> str:
        headers = _headers(message)
        if headers is not None and await self._is_done(message, headers):
            return "done"
        if headers is not None and self._is_erased is not None and await self._is_erased(message, headers):
            message = message.erased()
        letter = letter_of(lane, message, headers, now=self._now())
        await self._store.put(letter)
        if headers is not None:
            headers = replace(headers, lane=lane)
            await self._inbox.died(headers, code=letter.code, reason=letter.reason, now=letter.last_failure)
        letter.log(lane)
        return "stored"

    async def _is_done(self, message: Delivery, headers: Headers) -> bool:
        """Whether this very message took effect, though the broker never learned so."""
        row = await self._inbox.find(str(headers.message_id), headers.key)
        if row is None or row["status"] != "done":
            return False
        return await self._has_payload_hash(message, headers, row)


def letter_of(lane: Lane, message: Delivery, headers: Headers | None, *, now: datetime) -> DeadLetter:
    """The dead letter of a message that the broker gave up; the broker's reason leaves the properties."""
    properties = dict(message.properties)
    reason, description = str(properties.pop(_REASON, "")), str(properties.pop(_DESCRIPTION, ""))
    category, code = _REASONS.get(reason, _OTHER)
    why = ": ".join(part for part in (reason, description) if part) or "the broker gave no reason"
    failure = Failure(category, code, why)
    delivery = replace(message, properties=properties)
    return DeadLetter.of_message(lane, delivery, headers, failure, now=now, queue="deadLetterQueue")


def _headers(message: Delivery) -> Headers | None:
    try:
        return Headers.from_properties(message.properties)
    except MessageError:
        return None
