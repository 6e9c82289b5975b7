"""What subscribers learn, in the Event Grid schema, and how it reaches them.

Source: learn.microsoft.com, "Azure Key Vault as Event Grid source". Events travel side by side, for as long as Event
Grid would try; the vault never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any, Final, Protocol

from local_azure.keyvault.items import Item, Kind, Occurrence, Version
from local_azure.keyvault.wire import item_address

__all__ = ["Delivery", "NotTaken", "Rejected", "Subscription", "Transport", "as_bytes", "event_of"]

_TOPIC: Final = "/subscriptions/local/resourceGroups/local/providers/Microsoft.KeyVault/vaults/"


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where events go: to an Event Grid webhook, or to a queue of Service Bus."""

    name: str
    webhook: str = ""
    service_bus: str = field(default="", repr=False)
    queue: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A subscription needs a name.")
        if bool(self.webhook) == bool(self.service_bus and self.queue):
            raise ValueError(f"Subscription {self.name} needs either webhook, or service_bus and queue.")

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Subscription:
        """The subscription that an object describes.

        Raises
        ------
        ValueError
            If it does not.
        """
        if set(content) - {"name", "webhook", "service_bus", "queue"} or not all(
            isinstance(value, str) for value in content.values()
        ):
            raise ValueError("A subscription has the texts name, webhook, service_bus and queue.")
        return cls(**{"name": "", **content})

    def write(self) -> dict[str, str]:
        """The object that `read` understands."""
        return asdict(self)


def event_of(
    kind: Kind, item: Item, version: Version, happened: Occurrence, *, base: str, identity: str, at: int
) -> dict[str, Any]:
    """One event; `at` is in seconds since the epoch."""
    vault = base.partition("://")[2]
    return {
        "id": identity,
        "topic": _TOPIC + vault,
        "subject": item.name,
        "eventType": f"Microsoft.KeyVault.{kind.noun}{happened}",
        "eventTime": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "Id": item_address(base, kind, item.name, version.id),
            "VaultName": vault,
            "ObjectType": kind.noun,
            "ObjectName": item.name,
            "Version": version.id,
            "NBF": version.attributes.not_before,
            "EXP": version.attributes.expires,
        },
        "dataVersion": "1",
        "metadataVersion": "1",
    }


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
    """Owns the events on their way; `settle` is called for each that was taken or given up.

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
