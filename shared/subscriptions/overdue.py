"""Wakes deliveries whose message is lost: the broker gave it up too often, or what sent it failed twice.

Where the message still waits, the second of two messages of one try finds the row further on; where both are taken at
once, the receiver may get the event twice, unless it is sent at most once.
"""

import asyncio
import logging
from contextlib import aclosing
from datetime import datetime, timedelta

from shared.telemetry import log_event

from .deliveries import Deliveries
from .store import SubscriptionStore
from .wakes import Wake, WakeQueue

__all__ = ["wake_overdue"]

OVERDUE = timedelta(hours=1)
MOST = 5_000
"""Of one run: a queue that is behind isn't doubled."""
_AT_ONCE = 100


async def wake_overdue(
    subscriptions: SubscriptionStore, deliveries: Deliveries, queue: WakeQueue, *, now: datetime
) -> int:
    """Send a message for each delivery that should have been tried an hour ago; how many; raises NotSent."""
    owners = {one.id: one.owner for one in await subscriptions.every()}
    wakes: dict[tuple[str, str], Wake] = {}
    async with aclosing(deliveries.overdue(now - OVERDUE)) as overdue:
        async for one in overdue:
            owner = owners.get(one.subscription)
            if owner is None:  # its subscription is deleted
                continue
            name, attempt = ("", 0) if one.order else (one.id, one.attempts)
            wakes[one.subscription, name] = Wake(
                owner=owner, subscription=one.subscription, delivery=name, attempt=attempt
            )
            if len(wakes) == MOST:
                break
    found = list(wakes.values())
    for start in range(0, len(found), _AT_ONCE):
        await asyncio.gather(*(queue.send(wake) for wake in found[start : start + _AT_ONCE]))
    if found:
        log_event("webhooks overdue", level=logging.WARNING, count=len(found))
    return len(found)
