"""An Event Grid for a test: topics, subscriptions, and a clock that can be moved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_azure.eventgrid.running import running_grid
from local_azure.eventgrid.transports import Connections
from local_azure.testing.services import Services

__all__ = ["EventGrid", "EventGridTopic"]

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class EventGridTopic:
    """A topic: what a publisher's client is given."""

    name: str
    endpoint: str
    key: str


class EventGrid:
    """Event Grid. What the service refuses raises `EventGridError`.

    Parameters
    ----------
    service_bus, storage:
        Connection strings of what subscriptions name: queues, topics and hubs; containers for dead letters.
    """

    def __init__(self, services: Services, service_bus: str = "", storage: str = "") -> None:
        self._services = services
        self._moved = 0.0
        connections = Connections(service_bus=service_bus, event_hubs=service_bus, storage=storage)
        self._running = services.start(running_grid(connections, now=lambda: time.time() + self._moved))
        self.url = self._running.url

    def topic(self, name: str, **properties: Any) -> EventGridTopic:
        """Make a topic; properties as Resource Manager has them: `inputSchema="CloudEventSchemaV1_0"`."""

        async def put() -> EventGridTopic:
            topic = self._running.put_topic(name, properties)
            return EventGridTopic(topic.name, self._running.endpoint(name), topic.keys[0])

        return self._services.run(put())

    def subscription(self, topic: str, name: str, **properties: Any) -> bool:
        """Subscribe; a webhook is asked first. Whether it is in force, or waits for its owner to open an address."""
        return self._services.run(self._running.put_subscription(topic, name, properties))

    def webhook(self, topic: str, name: str, url: str, **properties: Any) -> bool:
        """Subscribe a webhook, with no more than its address."""
        destination = {"endpointType": "WebHook", "properties": {"endpointUrl": url}}
        return self.subscription(topic, name, destination=destination, **properties)

    def queue(self, topic: str, name: str, queue: str, **properties: Any) -> bool:
        """Subscribe a Service Bus queue."""
        destination = {"endpointType": "ServiceBusQueue", "properties": {"resourceId": f"/local/queues/{queue}"}}
        return self.subscription(topic, name, destination=destination, **properties)

    def metrics(self, topic: str) -> Mapping[str, int]:
        """What a topic has counted, under the names of the service's metrics."""

        async def counted() -> Mapping[str, int]:
            return self._running.grid.counts(topic)

        return self._services.run(counted())

    def move(self, seconds: float) -> None:
        """Move the clock: what becomes due is tried at once."""

        async def move() -> None:
            self._moved += seconds
            self._running.wake()

        self._services.run(move())

    def settled(self, timeout: float = _SECONDS) -> None:
        """Wait until nothing is being tried; what waits for a later time may wait on.

        Raises
        ------
        TimeoutError
        """
        until = time.monotonic() + timeout

        async def busy() -> bool:
            return self._running.busy

        while self._services.run(busy()):
            if time.monotonic() > until:
                raise TimeoutError("Event Grid is still delivering.")
            time.sleep(0.005)

    def reset(self) -> None:
        """Forget all topics, what is on its way, and that the clock was moved."""

        async def forget() -> None:
            self._moved = 0.0
            for topic in self._running.grid.topics():
                self._running.remove_topic(topic.name)
            await self._running.close()

        self._services.run(forget())
