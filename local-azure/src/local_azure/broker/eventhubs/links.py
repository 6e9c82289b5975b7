"""Event hubs over AMQP links: senders and partition readers."""

from __future__ import annotations

from typing import Any, Final

from local_azure.broker.amqp import (
    AmqpError,
    DeliveryReceived,
    DeliverySettled,
    IncomingLink,
    OutgoingLink,
)
from local_azure.broker.amqp.types import Array, Described
from local_azure.broker.endpoints import Client, Ingress
from local_azure.broker.eventhubs.hub import EventHub
from local_azure.broker.eventhubs.partition import Event, parse_events

__all__ = ["EventSender", "PartitionReader"]

_MAX_MESSAGE: Final = 1 << 20
"""Bytes in one event or batch (Event Hubs quotas, standard tier)."""

_SELECTOR: Final = "apache.org:selector-filter:string"
_EPOCH: Final = "com.microsoft:epoch"
_NAME: Final = "com.microsoft:receiver-name"
_RUNTIME_METRIC: Final = "com.microsoft:enable-receiver-runtime-metric"


class EventSender(Ingress):
    """A client that sends to a hub, or to one partition of it."""

    def __init__(self, link: IncomingLink, client: Client, hub: EventHub, partition: int | None) -> None:
        super().__init__(link, client, hub.journal)
        self._hub = hub
        self._partition = partition
        self.open(_MAX_MESSAGE, _MAX_MESSAGE)

    def take(self, payload: bytes, message_format: int) -> None:
        """Put events into their partition."""
        events, key = parse_events(payload, message_format)
        self._hub.append(events, self._client.now(), key=key, partition=self._partition)


class PartitionReader:
    """A client that reads one partition through a consumer group."""

    def __init__(self, link: OutgoingLink, client: Client, hub: EventHub, partition: int) -> None:
        self._link = link
        self._client = client
        self._hub = hub
        self._log = hub.partitions[partition]
        self.name = str(link.properties.get(_NAME) or "nil")
        epoch = link.properties.get(_EPOCH)
        self.epoch = int(epoch) if isinstance(epoch, int) else None
        self.position = self._log.position(_selector(link))
        self._wants_metrics = _RUNTIME_METRIC in _names(link.attach.desired_capabilities)

    def open(self, group: str, partition: int) -> None:
        """Accept the link and start reading."""
        self._hub.attach(group, partition, self)
        self._link.accept(max_message_size=_MAX_MESSAGE)

    @property
    def is_ready(self) -> bool:
        """Whether there is credit, and room in the connection."""
        return self._link.is_ready and self._client.is_writable

    def deliver(self, event: Event) -> None:
        """Send an event, settled: reading changes nothing in the hub."""
        metrics = self._log.metrics(self._client.now()) if self._wants_metrics else b""
        self._link.send(event.encode(metrics), settled=True)

    def nothing_left(self) -> None:
        """Answer a drain."""
        if self._link.drain and self._client.is_writable:
            self._link.drained()

    def stolen(self, error: AmqpError) -> None:
        """Close the link with the reason."""
        self._link.detach(error)

    def on_credit(self) -> None:
        """Send what there is."""
        self._hub.wake(self._hub)

    def on_detached(self) -> None:
        """Stop reading."""
        self._hub.detach(self)

    def on_settled(self, event: DeliverySettled) -> None:
        """Events are sent settled."""

    def on_delivery(self, event: DeliveryReceived) -> None:
        """Does not happen on this side."""


def _selector(link: OutgoingLink) -> str | None:
    filters = link.attach.source.filters if link.attach.source else {}
    value = filters.get(_SELECTOR)
    if isinstance(value, Described):
        value = value.value
    return value if isinstance(value, str) else None


def _names(capabilities: Any) -> list[str]:
    if isinstance(capabilities, str):
        return [capabilities]
    return [str(name) for name in capabilities.items] if isinstance(capabilities, Array) else []
