"""Empties the container of what Event Grid couldn't deliver; a blob stays until all of it is dealt with."""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from shared.blobs import ForeignBlobs
from shared.dead_letters import DeadLetter, DeadLetterStore
from shared.messages import Category, ErrorCode, Failure
from shared.telemetry import log_event

from .blob import Undelivered, read_blob

__all__ = ["SOURCE", "UndeliveredDrain"]

SOURCE = "event-grid"
"""The road that its dead letters name."""
LARGEST = 64 * 1024 * 1024
"""Bytes of a blob that is read: Event Grid writes what failed within minutes."""

Deliver = Callable[[Mapping[str, Any]], Awaitable[bool]]
"""Brings an event where it belongs; False where nobody here is for it. Whatever it raises, it is tried again."""


class UndeliveredDrain:
    """Deals with one blob after the other; doing it again changes nothing.

    Parameters
    ----------
    deliver:
        What a subscription would have reached: it may be there again.
    """

    def __init__(
        self, blobs: ForeignBlobs, deliver: Deliver, store: DeadLetterStore, *, now: Callable[[], datetime]
    ) -> None:
        self._blobs = blobs
        self._deliver = deliver
        self._store = store
        self._now = now
        self._last = ""

    async def drain(self, time_left: Callable[[], bool]) -> bool:
        """Whether nothing is left but what can't be dealt with now.

        A run that had too little time is gone on with by the next: what can't be dealt with keeps nothing behind it.
        """
        async for name in self._blobs.names():
            if name <= self._last:
                continue
            if not time_left():
                return False
            self._last = name
            try:
                if await self._dealt_with(name):
                    await self._blobs.delete(name)
            except Exception as error:  # one blob's outage or surprise: the others are dealt with all the same
                log_event("undelivered events not drained", level=logging.ERROR, blob=name, error=error)
        self._last = ""
        return True

    async def _dealt_with(self, name: str) -> bool:
        content = await self._blobs.read(name, largest=LARGEST)
        if content is None:
            log_event("undelivered events too large", level=logging.ERROR, blob=name, largest=LARGEST)
            return False
        try:
            events = read_blob(content)
        except ValueError as error:
            failure = Failure(Category.INVALID, ErrorCode.MALFORMED_JSON, f"{name}: {error}")
            await self._keep(self._record(name, content, failure))
            return True
        failures: list[Exception] = []
        delivered = 0
        for event in events:
            try:
                if not event.unreadable and await self._deliver(event.event):
                    delivered += 1
                else:
                    await self._keep(self._record_of(event, name))
            except Exception as error:  # the others of the blob are dealt with all the same
                failures.append(error)
        log_event("undelivered events drained", blob=name, events=len(events), delivered=delivered)
        if failures:
            raise ExceptionGroup("undelivered events are to come again", failures)
        return True

    def _record_of(self, event: Undelivered, name: str) -> DeadLetter:
        reason = f"Event Grid: {event.reason or 'not delivered'}, last {event.outcome or 'unknown'}"
        if event.unreadable:
            reason = event.unreadable
        body = event.text.encode("utf-8", "backslashreplace")
        failure = Failure(event.category, event.code, reason)
        return self._record(event.identity, body, failure, blob=name, event=event)

    def _record(
        self, identity: str, body: bytes, failure: Failure, *, blob: str = "", event: Undelivered | None = None
    ) -> DeadLetter:
        known = hashlib.sha256(identity.encode("utf-8", "backslashreplace")).hexdigest()
        now = self._now()
        return DeadLetter(
            identity=f"{SOURCE}:{known}",
            body=body,
            properties={},
            source=SOURCE,
            category=failure.category.value,
            code=str(failure.code),
            reason=failure.reason,
            attempts=event.attempts if event else 1,
            first_failure=(event.published if event else None) or now,
            last_failure=now,
            event_type=(event.type if event else "") or None,
            key=(event.subject if event else "") or None,
            position={"blob": blob or identity},
        )

    async def _keep(self, dead_letter: DeadLetter) -> None:
        await self._store.put(dead_letter)
        log_event(
            "dead letter",
            level=logging.ERROR,
            source=SOURCE,
            code=dead_letter.code,
            category=dead_letter.category,
            reason=dead_letter.reason,
        )
