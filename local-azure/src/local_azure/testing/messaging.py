"""Service Bus and Event Hubs for a test: one broker, whose entities are made as tests name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar, get_type_hints

from local_azure.broker.administration import EntityNotFoundError
from local_azure.broker.entities import (
    ConsumerGroup,
    Description,
    EntityStatus,
    EventHubDescription,
    QueueDescription,
    RuleDescription,
    SqlFilter,
    SubscriptionDescription,
    TopicDescription,
    parse_duration,
)
from local_azure.broker.running import RunningBroker
from local_azure.testing.services import Services

__all__ = ["EventHubs", "ServiceBus"]

T = TypeVar("T")

_FROM_TEXT: Final[Mapping[Any, Callable[[str], Any]]] = {timedelta: parse_duration, EntityStatus: EntityStatus}


class _Messaging:
    """What both services share."""

    def __init__(self, services: Services, broker: RunningBroker) -> None:
        self._services = services
        self._catalogue = broker.catalogue
        self.connection_string = broker.connection_string
        """What a client's `from_connection_string` is given; its key is a placeholder that opens nothing else."""

    def _replace(self, find: Callable[[], Description], description: Description) -> None:
        async def replace() -> None:
            with suppress(EntityNotFoundError):
                await self._catalogue.delete(find())
            await self._catalogue.create(description)

        self._services.run(replace())


class ServiceBus(_Messaging):
    """A Service Bus namespace.

    Entities have the service's default properties; others are given under the names that `azure-servicebus` has for
    them (`requires_session=True`, `lock_duration=timedelta(seconds=5)` or `"PT5S"`, `max_delivery_count=3`).
    A property that the service refuses raises `ValueError`, one that it does not know `TypeError`.
    """

    def queue(self, name: str, **properties: Any) -> str:
        """An empty queue; one that has the name already is removed with all it holds. Gives the name."""
        description = _describe(QueueDescription, properties, name=name)
        self._replace(lambda: self._catalogue.queue(name), description)
        return name

    def topic(self, name: str, *, subscriptions: Iterable[str] = (), **properties: Any) -> str:
        """A topic with subscriptions that take all; one that has the name already is removed. Gives the name."""
        description = _describe(TopicDescription, properties, name=name)
        self._replace(lambda: self._catalogue.topic(name), description)
        for each in subscriptions:
            self.subscription(name, each)
        return name

    def subscription(self, topic: str, name: str, *, sql_filter: str | None = None, **properties: Any) -> str:
        """An empty subscription of a topic that takes all, or what an SQL filter lets through. Gives the name."""
        if sql_filter is not None:
            properties["rules"] = (RuleDescription(filter=SqlFilter(expression=sql_filter)),)
        description = _describe(SubscriptionDescription, properties, topic_name=topic, name=name)
        self._replace(lambda: self._catalogue.subscription(topic, name), description)
        return name


class EventHubs(_Messaging):
    """An Event Hubs namespace."""

    def hub(self, name: str, *, partitions: int = 1, consumer_groups: Iterable[str] = (), **properties: Any) -> str:
        """An empty event hub; one that has the name already is removed with its events. Gives the name.

        The consumer group `$Default` is always there.
        """
        groups = tuple(ConsumerGroup(name=group) for group in consumer_groups)
        fixed = {"name": name, "partition_count": partitions, "consumer_groups": groups}
        description = _describe(EventHubDescription, properties, **fixed)
        self._replace(lambda: self._catalogue.event_hub(name), description)
        return name


def _describe(kind: type[T], properties: Mapping[str, Any], **fixed: Any) -> T:
    """A description, with durations and states as the SDK takes them: as such, or as text."""
    hints = get_type_hints(kind)
    values = {
        name: _FROM_TEXT[hints[name]](value) if isinstance(value, str) and hints.get(name) in _FROM_TEXT else value
        for name, value in properties.items()
    }
    return kind(**values, **fixed)
