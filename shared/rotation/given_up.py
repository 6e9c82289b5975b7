"""What the broker gave up of the vault's events: tried again for a while, then a dead letter."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from shared.dead_letters import BodyKind, DeadLetterStore, GivenUp, dead_letter_of
from shared.telemetry import log_event

from .handler import SecretEvents

__all__ = ["MOST_DELIVERIES", "SOURCE", "GivenUpEvents"]

SOURCE = "secret-events"
"""The road that its dead letters name."""
MOST_DELIVERIES = 30
"""Ten in the queue, then one for each drain: twenty minutes more for a vault that doesn't answer."""


class GivenUpEvents:
    """Drains the dead letters of the queue of secret events.

    A body that no binding takes fails the batch that it comes with, until the broker has given up all of that batch.
    So an event is taken here as the function would have: what was done is known to be, and what wasn't is done now.

    Parameters
    ----------
    events:
        Takes an event; called with the first.
    """

    def __init__(
        self, events: Callable[[], SecretEvents], store: DeadLetterStore, *, now: Callable[[], datetime]
    ) -> None:
        self._events = events
        self._store = store
        self._now = now

    async def drain(
        self, messages: Sequence[GivenUp], complete: Callable[[GivenUp], Awaitable[None]], look: object = None
    ) -> list[GivenUp]:
        """Deal with each message and complete it; returns those that must come again."""
        failed: list[GivenUp] = []
        for message in messages:
            try:
                if not await self._taken(message):
                    await self._keep(message)
                await complete(message)
            except Exception as error:
                log_event("dead letter not drained", level=logging.ERROR, source=SOURCE, error=error)
                failed.append(message)
        return failed

    async def _taken(self, message: GivenUp) -> bool:
        """Whether its events were taken; raises while they may be another time."""
        if message.kind is not BodyKind.DATA:
            return False
        try:
            await self._events().take_body(message.delivery.body)
        except Exception:
            if message.delivery.delivery_count < MOST_DELIVERIES:
                raise
            return False
        return True

    async def _keep(self, message: GivenUp) -> None:
        dead_letter = dead_letter_of(message, SOURCE, now=self._now())
        await self._store.put(dead_letter)
        log_event(
            "dead letter",
            level=logging.ERROR,
            source=SOURCE,
            messageId=dead_letter.message_id,
            code=dead_letter.code,
            category=dead_letter.category,
            reason=dead_letter.reason,
        )
