"""The broker: every entity of the namespace, when each needs attention, and their administration. No I/O."""

from __future__ import annotations

import heapq
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.entities import EventHubDescription, entity_key
from local_azure.broker.eventhubs.hub import EventHub
from local_azure.broker.eventhubs.management import HubManagement
from local_azure.broker.journal import Journal
from local_azure.broker.servicebus.consumers import Services
from local_azure.broker.servicebus.namespace import Namespace
from local_azure.broker.servicebus.queue import Queue

__all__ = ["Broker", "HubAddress"]

_log = logging.getLogger("emulator")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A hub's address taken apart."""

    hub: EventHub
    group: str | None = None
    partition: int | None = None


class Broker:
    """One namespace. Call `pump` after anything happened, `tick` when `next_deadline` has come."""

    def __init__(
        self, *, journal: Journal, now: Callable[[], int], name: str = "local-azure", seed: int | None = None
    ) -> None:
        self.name = name
        self.journal = journal
        self.now = now
        self.connections = 0
        self._dirty_queues: dict[Queue, None] = {}
        self._dirty_hubs: dict[EventHub, None] = {}
        self._timers: list[tuple[int, int, Queue | EventHub]] = []
        self._timer_number = 0
        self._armed: dict[Queue | EventHub, None] = {}
        draw = random.Random(seed)  # noqa: S311  a lock token names a lock, it does not guard it
        self.services = Services(journal=journal, new_token=lambda: draw.randbytes(16), wake=self._wake_queue)
        self.namespace = Namespace(self.services)
        self.hubs: dict[str, EventHub] = {}
        self.hub_management = HubManagement(self._hub_for_management)
        self.on_change: Callable[[], None] = lambda: None
        self.rule_requests: Callable[[str], Any] = lambda path: None

    # -- attention ---------------------------------------------------------------------------------
    def _wake_queue(self, queue: Queue) -> None:
        self._dirty_queues[queue] = None

    def _wake_hub(self, hub: EventHub) -> None:
        self._dirty_hubs[hub] = None

    def pump(self) -> None:
        """Hand out what can be handed out."""
        while self._dirty_queues or self._dirty_hubs:
            queues, self._dirty_queues = self._dirty_queues, {}
            hubs, self._dirty_hubs = self._dirty_hubs, {}
            now = self.now()
            for queue in queues:
                self._serve(queue, partial(queue.dispatch, now))
            for hub in hubs:
                self._serve(hub, hub.dispatch)

    def _serve(self, entity: Queue | EventHub, work: Callable[[], object]) -> None:
        """Do an entity's work. One that fails has its own fault in the log, and the others go on."""
        try:
            work()
            self._arm(entity, entity.next_deadline())
        except Exception:
            _log.exception("An entity failed inside the emulator: the others go on")

    @property
    def has_work(self) -> bool:
        """Whether `pump` would do something."""
        return bool(self._dirty_queues or self._dirty_hubs)

    def _arm(self, entity: Queue | EventHub, time: int | None) -> None:
        if time is not None and (entity.timer_at is None or time < entity.timer_at):
            entity.timer_at = time
            self._timer_number += 1
            heapq.heappush(self._timers, (time, self._timer_number, entity))
            self._armed[entity] = None
            if len(self._timers) > 2 * len(self._armed) + 1000:
                self._timers = [timer for timer in self._timers if timer[2].timer_at == timer[0]]
                heapq.heapify(self._timers)

    def next_deadline(self) -> int | None:
        """When `tick` has to be called, in ms since the epoch; None if nothing waits for time."""
        return self._timers[0][0] if self._timers else None

    def tick(self) -> None:
        """Do what time brings about, then `pump`."""
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            time, _, entity = heapq.heappop(self._timers)
            if entity.timer_at != time:
                continue
            entity.timer_at = None
            self._armed.pop(entity, None)
            self._serve(entity, partial(entity.tick, now))
        self.pump()

    # -- addresses ---------------------------------------------------------------------------------
    def find_hub(self, path: str) -> HubAddress | None:
        """The hub that an address names, None if it names none.

        Raises
        ------
        AmqpError
            If the hub is there, but not the partition or group.
        """
        name, *rest = path.split("/")
        hub = self.hubs.get(entity_key(name))
        if hub is None:
            return None
        words = [word.lower() for word in rest[::2]]
        if words == []:
            return HubAddress(hub)
        if words == ["partitions"] and len(rest) == 2:
            return HubAddress(hub, partition=_partition(hub, rest[1]))
        if words == ["consumergroups", "partitions"] and len(rest) == 4:
            return HubAddress(hub, hub.group(rest[1]), _partition(hub, rest[3]))
        raise AmqpError(Condition.NOT_FOUND, f"The messaging entity '{path}' could not be found")

    def _hub_for_management(self, name: str) -> EventHub:
        hub = self.hubs.get(entity_key(name))
        if hub is None:
            raise AmqpError(Condition.NOT_FOUND, f"The messaging entity '{name}' could not be found")
        return hub

    def add_hub(
        self, key: str, description: EventHubDescription, identities: Sequence[int], created_at: int
    ) -> EventHub:
        """Create an event hub whose partitions have these storage identities."""
        hub = EventHub(description, identities, created_at, self.journal, self._wake_hub)
        self.hubs[key] = hub
        return hub


def _partition(hub: EventHub, text: str) -> int:
    for number, log in enumerate(hub.partitions):
        if log.name == text:
            return number
    raise AmqpError(
        Condition.ARGUMENT_OUT_OF_RANGE,
        f"Partition '{text}' does not exist: event hub '{hub.description.name}' has partitions 0 to"
        f" {len(hub.partitions) - 1}",
    )
