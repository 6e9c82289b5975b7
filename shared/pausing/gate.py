"""Before the processor of a lane: what is paused now, and where its messages wait before they are read."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from shared.messages import Delivery, Headers, InvalidMessage, Lane
from shared.ordered import Parking
from shared.telemetry import log_event

from .book import PauseBook, PauseState
from .pause import Kind, Pause
from .set_aside import SetAside, SetAsideMessage

__all__ = ["PauseGate", "PauseWatch"]

FRESH_SECONDS = 4.0
"""A pause is honoured within five seconds: this, and the time that reading takes."""


class PauseWatch:
    """Asks the book, once for everybody who asks meanwhile. An idle instance reads nothing.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, book: PauseBook, *, clock: Callable[[], float], fresh_seconds: float = FRESH_SECONDS) -> None:
        self._book = book
        self._clock = clock
        self._fresh = fresh_seconds
        self._known = PauseState()
        self._until = float("-inf")
        self._reading = asyncio.Lock()

    async def holding(self, *, lane: str, integration: str | None = None) -> Pause | None:
        """The pause that keeps a message of this lane and integration from its handler, if one does.

        What the store raises is passed on: without it nothing could be processed anyway.
        """
        state = await self._state()
        if not state.active:
            return None
        found = state.find(Kind.LANE, lane)
        if found is None and integration is not None:
            found = state.find(Kind.INTEGRATION, integration)
        return found

    async def of(self, kind: Kind, name: str) -> Pause | None:
        """The pause of one thing, if there is one."""
        return (await self._state()).find(kind, name)

    async def _state(self) -> PauseState:
        if self._clock() >= self._until:
            async with self._reading:
                began = self._clock()
                if began >= self._until:  # nobody else has read meanwhile
                    self._known = await self._book.state()
                    self._until = began + self._fresh
        return self._known


class PauseGate:
    """Admits deliveries. On the ordered lane a key whose message may not be processed is parked, and keeps its order.

    Parameters
    ----------
    integration_of:
        From an event type and a version to the integration whose handler it is for; None where there is none.
    """

    def __init__(
        self,
        pauses: PauseWatch,
        aside: SetAside,
        parking: Parking,
        *,
        integration_of: Callable[[str, str], str | None],
        now: Callable[[], datetime],
    ) -> None:
        self._pauses = pauses
        self._aside = aside
        self._parking = parking
        self._integration_of = integration_of
        self._now = now

    async def admit(self, lane: Lane, deliveries: Sequence[Delivery]) -> list[int]:
        """The numbers of those that may be processed now; the others wait safely when this returns.

        Whatever storage raises is passed on: the batch goes back to its queue.
        """
        about = [
            (str(one.properties.get("eventType", "")), str(one.properties.get("version", ""))) for one in deliveries
        ]
        integrations = [self._integration_of(event_type, version) for event_type, version in about]
        waits = [await self._pauses.holding(lane=lane.value, integration=one) is not None for one in integrations]
        if lane is Lane.ORDERED:
            waits = _with_their_keys(deliveries, waits)
        paused = [
            (delivery, integration or "")
            for delivery, integration, must_wait in zip(deliveries, integrations, waits, strict=True)
            if must_wait
        ]
        if paused:
            await self._put(lane, paused)
            log_event("messages set aside", lane=lane.value, messages=len(paused))
        return [number for number, must_wait in enumerate(waits) if not must_wait]

    async def _put(self, lane: Lane, paused: Sequence[tuple[Delivery, str]]) -> None:
        aside: list[SetAsideMessage] = []
        for delivery, integration in paused:
            headers = _headers(delivery) if lane is Lane.ORDERED else None
            if headers is not None:
                await self._park(delivery, headers)
            else:
                aside.append(self._message(lane, delivery, integration))
        await self._aside.put(aside)

    def _message(self, lane: Lane, delivery: Delivery, integration: str) -> SetAsideMessage:
        return SetAsideMessage(
            lane=lane.value,
            integration=integration,
            broker_id=delivery.message_id,
            sequence_number=delivery.sequence_number,
            body=delivery.body,
            properties=delivery.properties,
            since=self._now(),
        )

    async def _park(self, delivery: Delivery, headers: Headers) -> None:
        """Behind what waits already, else as the first of its key; what blocks its key goes before all others."""
        message_id = str(headers.message_id)
        known = (await self._parking.find([headers.key])).get(headers.key)
        waits = known is not None and known.blocked_by != message_id
        if not (waits and await self._parking.add(headers.key, delivery)):
            await self._parking.park(headers.key, delivery, message_id=message_id, until=self._now(), reason="paused")


def _with_their_keys(deliveries: Sequence[Delivery], waits: Sequence[bool]) -> list[bool]:
    """All messages of a key wait where one does: one that is free would else find a later one before it."""
    keys = [None if (headers := _headers(delivery)) is None else headers.key for delivery in deliveries]
    waiting = {key for key, must_wait in zip(keys, waits, strict=True) if must_wait and key is not None}
    return [must_wait or key in waiting for key, must_wait in zip(keys, waits, strict=True)]


def _headers(delivery: Delivery) -> Headers | None:
    try:
        return Headers.from_properties(delivery.properties)
    except InvalidMessage:
        return None
