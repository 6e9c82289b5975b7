"""From the event log to deliveries: exactly the subscriptions that an event is for, each event once for each.

A batch is applied again after a crash: rows that are known stay as they are, and what is still pending is sent again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from pydantic_core import from_json

from shared.messages import CloudEvent, MessageError
from shared.streams import StreamEvent
from shared.telemetry import Metrics, log_event

from .deliveries import Deliveries, Delivery, DeliveryStatus
from .payload import Payloads
from .store import SubscriptionStore
from .subscription import Status, Subscription
from .wakes import Wake, WakeQueue

__all__ = ["FanOut"]

_AT_ONCE = 16


class FanOut:
    """Applies batches of events; only outages leave it."""

    def __init__(
        self,
        subscriptions: SubscriptionStore,
        deliveries: Deliveries,
        queue: WakeQueue,
        payloads: Payloads,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._subscriptions = subscriptions
        self._deliveries = deliveries
        self._queue = queue
        self._known_types = frozenset(payloads.event_types)
        self._now = now

    async def apply(self, events: Sequence[StreamEvent]) -> None:
        """Return when every event has a row and a message for each subscription that wants it.

        What can't be read is passed over: the read models, which read the same log, keep it as a dead letter.
        """
        subscriptions = await self._subscriptions.every()
        begun: dict[str, list[tuple[Subscription, Delivery]]] = {}
        for received in events:
            event = _read(received) if subscriptions else None
            if event is None or event.type not in self._known_types:
                continue
            data = from_json(event.data)
            body = received.body.decode()
            for one in subscriptions:
                if one.wants(event.type, event.version, event.time, data):
                    place = f"{received.partition}:{received.sequence_number:020d}" if one.ordered else ""
                    delivery = Delivery.of(one.id, event, body, order=place, now=self._now())
                    begun.setdefault(one.id, []).append((one, delivery))
        places = asyncio.Semaphore(_AT_ONCE)

        async def begin(pairs: Sequence[tuple[Subscription, Delivery]]) -> None:
            async with places:
                await self._begin(pairs[0][0], [delivery for _, delivery in pairs])

        await asyncio.gather(*(begin(pairs) for pairs in begun.values()))

    async def _begin(self, one: Subscription, deliveries: Sequence[Delivery]) -> None:
        if one.status is Status.DISABLED:
            await self._deliveries.begin([replace(each, status=DeliveryStatus.MISSED) for each in deliveries])
            return
        new = await self._deliveries.begin(deliveries)
        Metrics.webhook_deliveries.add(sum(new.values()), outcome="begun")
        if one.ordered:
            await self._queue.send(Wake(owner=one.owner, subscription=one.id))
            return
        wakes = []
        for delivery in deliveries:
            wake = Wake(owner=one.owner, subscription=one.id, delivery=delivery.id)
            if new[delivery.id]:
                wakes.append(replace(wake, event=(delivery.event or "").encode()))
            else:
                # another instance, or this one before it died, has made it: it may not have been sent
                known = await self._deliveries.get(one.id, delivery.id)
                if known is not None and known.status is DeliveryStatus.PENDING and not known.attempts:
                    wakes.append(wake)
        await asyncio.gather(*(self._queue.send(wake) for wake in wakes))


def _read(received: StreamEvent) -> CloudEvent | None:
    if received.unreadable:
        return None
    with suppress(MessageError):
        return CloudEvent.from_json(received.body)
    log_event("webhook event ignored", level=logging.WARNING, **received.position)
    return None
