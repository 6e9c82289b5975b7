"""Brings events to their subscribers, side by side, for as long as Event Grid would; the vault never waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from itertools import chain, repeat
from typing import Any, Final, Protocol

from local_azure.keyvault.events import Subscription

__all__ = ["Delivery", "NotTaken", "Rejected", "Transport", "as_bytes"]

_log = logging.getLogger("keyvault")

_FIRST_DELAYS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LAST_DELAY: Final = 60.0
"""Seconds between tries. Event Grid waits 10 s to 12 h; whoever has started a subscriber again waits a minute here."""

_TIME_TO_LIVE: Final = 86_400
"""Seconds from an event to its last try: Event Grid's 1,440 minutes."""

_AT_ONCE: Final = 16
_MOST_WAITING: Final = 10_000
"""For each subscription, so that one that is away takes neither places nor memory from the others."""


class NotTaken(Exception):
    """A subscriber could not be reached, or refused."""


class Rejected(NotTaken):
    """A subscriber refused for a reason that no later try changes."""


class Transport(Protocol):
    """Takes one event to one subscriber."""

    async def send(self, subscription: Subscription, event: Mapping[str, Any]) -> None:
        """Deliver, or raise `NotTaken`."""


class Delivery:
    """Owns the events on their way; `settle` is told of each that was taken or given up.

    Parameters
    ----------
    find:
        The subscription of a name as it is at the moment: one that has moved gets its events at its new address.
    now:
        Seconds since the epoch.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        find: Callable[[str], Subscription | None],
        settle: Callable[[int], None],
        now: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._find = find
        self._settle = settle
        self._now = now
        self._pause = pause
        self._at_once: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self._waiting: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self.counts: Counter[str] = Counter()

    def add(self, number: int, name: str, event: Mapping[str, Any]) -> None:
        """Begin to deliver an event to the subscription of a name; with too many on their way there, it is given up."""
        waiting = self._waiting[name]
        if len(waiting) >= _MOST_WAITING:
            self._give_up(number, name, event, "too many events wait for it")
            return
        task = asyncio.get_running_loop().create_task(self._deliver(number, name, event))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    async def close(self) -> None:
        """Stop; what is on its way is delivered after the next start."""
        tasks = [task for waiting in self._waiting.values() for task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, number: int, name: str, event: Mapping[str, Any]) -> None:
        expires = datetime.fromisoformat(event["eventTime"]).timestamp() + _TIME_TO_LIVE
        for delay in chain(_FIRST_DELAYS, repeat(_LAST_DELAY)):
            subscription = self._find(name)
            if subscription is None:
                self._give_up(number, name, event, "it is gone")
                return
            try:
                async with self._at_once[name]:
                    await self._transport.send(subscription, event)
            except Exception as error:  # whatever it is: an event must not vanish with its task
                self.counts["refused"] += 1
                if isinstance(error, Rejected) or self._now() + delay > expires:
                    # What was not foreseen may quote an address, and that has a key in it.
                    self._give_up(
                        number, name, event, str(error) if isinstance(error, NotTaken) else type(error).__name__
                    )
                    return
            else:
                self.counts["delivered"] += 1
                self._settle(number)
                return
            await self._pause(delay)

    def _give_up(self, number: int, name: str, event: Mapping[str, Any], reason: str) -> None:
        _log.warning("%s gets no %s: %s", name, event["eventType"], reason)
        self.counts["given up"] += 1
        self._settle(number)


def as_bytes(event: Mapping[str, Any]) -> bytes:
    """An event as it travels."""
    return json.dumps(event, separators=(",", ":")).encode()
