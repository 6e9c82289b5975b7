"""Brings what the broker dead-lettered by itself to the one store, with the broker's own reason."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.messages import ErrorCode, Headers, Lane, MessageError
from shared.telemetry import log_event

from .inbox import InboxRecords
from .record import DeadLetter, unread_identity
from .store import DeadLetterStore

__all__ = ["BrokerLetter", "QueueDrain"]

_REASON = "DeadLetterReason"
_DESCRIPTION = "DeadLetterErrorDescription"

# The reasons that Service Bus gives by itself: "Overview of Service Bus dead-letter queues".
_REASONS: Mapping[str, tuple[str, str]] = {
    "MaxDeliveryCountExceeded": ("transient", ErrorCode.MAX_DELIVERIES_EXCEEDED),
    "TTLExpiredException": ("expired", ErrorCode.MESSAGE_EXPIRED),
    "HeaderSizeExceeded": ("invalid", ErrorCode.DEAD_LETTERED),
    "Session ID is null": ("invalid", ErrorCode.DEAD_LETTERED),
    "MaxTransferHopCountExceeded": ("permanent", ErrorCode.DEAD_LETTERED),
}
_OTHER = ("permanent", ErrorCode.DEAD_LETTERED)


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerLetter:
    """A message in a queue's dead-letter queue."""

    body: bytes
    properties: Mapping[str, Any]
    message_id: str
    sequence_number: int
    delivery_count: int


HasFingerprint = Callable[[BrokerLetter, Headers, str], Awaitable[bool]]


class QueueDrain:
    """Empties the dead-letter queues of the lanes into the store.

    Parameters
    ----------
    has_fingerprint:
        Whether a fingerprint that the inbox keeps is that of a message's data; not where it can't be read. Asked only
        for a message that the inbox knows as done: the broker may give up on one whose effects were committed.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        inbox: InboxRecords,
        *,
        has_fingerprint: HasFingerprint,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._has_fingerprint = has_fingerprint
        self._now = now

    async def drain(self, lane: Lane, messages: Sequence[BrokerLetter]) -> None:
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

    async def _take(self, lane: Lane, message: BrokerLetter) -> str:
        headers = _headers(message)
        if headers is not None and await self._is_done(message, headers):
            return "done"
        letter = letter_of(lane, message, headers, now=self._now())
        await self._store.put(letter)
        if headers is not None:
            headers = replace(headers, lane=lane)
            await self._inbox.record_death(headers, code=letter.code, reason=letter.reason, now=letter.last_failure)
        log_event(
            "dead letter",
            level=logging.ERROR,
            lane=lane.value,
            messageId=letter.message_id,
            code=letter.code,
            category=letter.category,
            reason=letter.reason,
        )
        return "stored"

    async def _is_done(self, message: BrokerLetter, headers: Headers) -> bool:
        """Whether this very message took effect, though the broker was never told so."""
        row = await self._inbox.find(str(headers.message_id), headers.key)
        if row is None or row["status"] != "done":
            return False
        return await self._has_fingerprint(message, headers, str(row.get("payloadSha256")))


def letter_of(lane: Lane, message: BrokerLetter, headers: Headers | None, *, now: datetime) -> DeadLetter:
    """The dead letter of a message that the broker gave up; the broker's reason leaves the properties."""
    properties = dict(message.properties)
    reason, description = str(properties.pop(_REASON, "")), str(properties.pop(_DESCRIPTION, ""))
    category, code = _REASONS.get(reason, _OTHER)
    return DeadLetter(
        identity=(
            str(headers.message_id)
            if headers
            else unread_identity(lane.value, message.message_id, message.sequence_number)
        ),
        body=message.body,
        properties=properties,
        source=f"lane:{lane.value}",
        category=category,
        code=str(code),
        reason=": ".join(part for part in (reason, description) if part) or "the broker gave no reason",
        attempts=headers.attempt if headers else message.delivery_count,
        first_failure=headers.first_attempt_at if headers else now,
        last_failure=now,
        message_id=str(headers.message_id) if headers else message.message_id or None,
        event_type=headers.event_type if headers else None,
        key=headers.key if headers else None,
        correlation_id=headers.correlation_id if headers else None,
        traceparent=headers.traceparent if headers else None,
        position={"deadLetterQueue": message.sequence_number},
    )


def _headers(message: BrokerLetter) -> Headers | None:
    try:
        return Headers.from_properties(message.properties)
    except MessageError:
        return None
