"""Brings events to their subscribers, side by side, with a bounded number of tries; the vault never waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from local_azure.keyvault.events import Subscription

__all__ = ["Delivery", "NotTaken", "Transport", "as_bytes"]

_log = logging.getLogger("keyvault")

_DELAYS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 10.0)
"""Seconds between tries: about half a minute in all."""

_AT_ONCE: Final = 16
_MOST_WAITING: Final = 1_000


class NotTaken(Exception):
    """A subscriber could not be reached, or refused."""


class Transport(Protocol):
    """Takes one event to one subscriber."""

    async def send(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        """Deliver, or raise `NotTaken`."""


class Delivery:
    """Owns the events on their way; `settle` is told of each that was taken or given up."""

    def __init__(
        self,
        transport: Transport,
        *,
        settle: Callable[[int], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._settle = settle
        self._pause = pause
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._waiting: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()

    def add(self, number: int, subscription: Subscription | None, event: Mapping[str, Any]) -> None:
        """Begin to deliver an event; with too many on their way, or to nobody, it is given up."""
        if subscription is None or len(self._waiting) >= _MOST_WAITING:
            self._give_up(number)
            return
        task = asyncio.get_running_loop().create_task(self._deliver(number, subscription, event))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def close(self) -> None:
        """Stop; what is on its way is delivered after the next start."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _deliver(self, number: int, subscription: Subscription, event: Mapping[str, Any]) -> None:
        for delay in (*_DELAYS, None):
            try:
                async with self._at_once:
                    await self._transport.send(subscription, event)
            except NotTaken as error:
                self.counts["refused"] += 1
                if delay is None:
                    _log.warning("%s does not take %s: %s", subscription.name, event["eventType"], error)
                    self._give_up(number)
                    return
                await self._pause(delay)
            else:
                self.counts["delivered"] += 1
                self._settle(number)
                return

    def _give_up(self, number: int) -> None:
        self.counts["given up"] += 1
        self._settle(number)


def as_bytes(event: Mapping[str, Any]) -> bytes:
    """An event as it travels."""
    return json.dumps(event, separators=(",", ":")).encode()
