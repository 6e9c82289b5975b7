"""Takes the messages of the deliveries' queue, and what the broker has given up of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from azure.core.exceptions import AzureError

from shared.dead_letters import DeadLetterStore, GivenUp, dead_letter_of
from shared.encryption import KeysUnavailable
from shared.messages import Delivery
from shared.sending import NotSent
from shared.telemetry import log_event

from .deliverer import Deliverer
from .wakes import Wake, WakeQueue

__all__ = ["SOURCE", "DeliveryReceiver"]

SOURCE = "webhook-deliveries"
"""The road that dead letters of the queue name."""
_OUTAGE = (AzureError, TimeoutError, KeysUnavailable, NotSent, OSError)
_LATER = 30.0
_PAUSE = 5.0
"""Seconds that a message waits which can't even be sent again: the broker brings it back at once."""
_RETURN_SECONDS = 300.0
MOST_RETURNS = 100
"""After so many it is a dead letter: with five minutes between them, and the queue's deliveries each, 8 hours."""


class DeliveryReceiver:
    """Hands messages to the deliverer; an outage costs no deliveries of the queue.

    Parameters
    ----------
    deliverer, queue, dead_letters:
        Called with the first message, so that nothing connects before.
    """

    def __init__(
        self,
        deliverer: Callable[[], Deliverer],
        queue: Callable[[], WakeQueue],
        dead_letters: Callable[[], DeadLetterStore],
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._deliverer = deliverer
        self._queue = queue
        self._dead_letters = dead_letters
        self._now = now
        self._sleep = sleep

    async def take(self, delivery: Delivery) -> None:
        """Return when a message may be completed.

        Raises
        ------
        Exception
            It can't be dealt with, nor sent again for later: the broker brings it back.
        """
        wake = Wake.of(delivery.properties, delivery.body)
        if wake is None:
            await self._keep(GivenUp(delivery=delivery))
            return
        try:
            await self._deliverer().deliver(wake, again=delivery.delivery_count > 1)
        except _OUTAGE as error:
            log_event("webhook put off", level=logging.WARNING, subscription=wake.subscription, error=error)
            try:
                await self._queue().send(wake.again(), when=self._now() + timedelta(seconds=_LATER))
            except NotSent:
                await self._sleep(_PAUSE)
                raise error from None

    async def drain(
        self, messages: Sequence[GivenUp], complete: Callable[[GivenUp], Awaitable[None]], look: object = None
    ) -> list[GivenUp]:
        """Send again what the broker has given up, and keep what can't be; returns those that must come again."""
        failed: list[GivenUp] = []
        for message in messages:
            try:
                wake = Wake.of(message.delivery.properties, b"")
                if wake is None or wake.returns >= MOST_RETURNS:
                    await self._keep(message)
                else:
                    again = replace(wake.again(), returns=wake.returns + 1)
                    await self._queue().send(again, when=self._now() + timedelta(seconds=_RETURN_SECONDS))
                await complete(message)
            except Exception as error:
                log_event("dead letter not drained", level=logging.ERROR, source=SOURCE, error=error)
                failed.append(message)
        return failed

    async def _keep(self, message: GivenUp) -> None:
        dead_letter = dead_letter_of(message, SOURCE, now=self._now())
        await self._dead_letters().put(dead_letter)
        log_event("dead letter", level=logging.ERROR, source=SOURCE, code=dead_letter.code, reason=dead_letter.reason)
