"""Joins what files declare, and checks what no single entity can: names apart, forwarding sound."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from local_azure.broker.config.document import Node
from local_azure.broker.config.properties import Names
from local_azure.broker.entities import (
    EventHubDescription,
    QueueDescription,
    RuleDescription,
    SubscriptionDescription,
    TopicDescription,
    entity_key,
    property_name,
)
from local_azure.broker.forwarding import forwarding_edges, forwarding_source, leads_back

__all__ = ["ConfiguredSubscription", "Declared", "Namespace", "join"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredSubscription:
    """A subscription with the rules it starts with."""

    description: SubscriptionDescription
    rules: tuple[RuleDescription, ...] = (RuleDescription(),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Namespace:
    """All that configuration files declare, names distinct and forwarding sound."""

    queues: tuple[QueueDescription, ...] = ()
    topics: tuple[TopicDescription, ...] = ()
    subscriptions: tuple[ConfiguredSubscription, ...] = ()
    event_hubs: tuple[EventHubDescription, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """What one file declares, each entity with its place for the checks across entities."""

    queues: list[tuple[Node, QueueDescription]] = field(default_factory=list)
    topics: list[tuple[Node, TopicDescription]] = field(default_factory=list)
    subscriptions: list[tuple[Node, ConfiguredSubscription]] = field(default_factory=list)
    event_hubs: list[tuple[Node, EventHubDescription]] = field(default_factory=list)


def join(files: Iterable[Declared]) -> Namespace:
    """Put files together. Raises `ConfigError` if they contradict each other or forward to nowhere."""
    together = Declared()
    for declared in files:
        together.queues.extend(declared.queues)
        together.topics.extend(declared.topics)
        together.subscriptions.extend(declared.subscriptions)
        together.event_hubs.extend(declared.event_hubs)
    _check_names(together)
    _check_forwarding(together)
    return Namespace(
        queues=tuple(queue for _, queue in together.queues),
        topics=tuple(topic for _, topic in together.topics),
        subscriptions=tuple(subscription for _, subscription in together.subscriptions),
        event_hubs=tuple(hub for _, hub in together.event_hubs),
    )


def _check_names(declared: Declared) -> None:
    """One port serves all entities, so a queue, a topic and an event hub cannot share a name either."""
    names = Names()
    for node, queue in declared.queues:
        names.take(node.member("Name"), queue.name)
    for node, topic in declared.topics:
        names.take(node.member("Name"), topic.name)
    for node, hub in declared.event_hubs:
        names.take(node.member("Name"), hub.name)


def _check_forwarding(declared: Declared) -> None:
    """Every target is a queue or topic that is there, and no message can come back to where it was."""
    sources: list[tuple[Node, QueueDescription | SubscriptionDescription]] = [*declared.queues]
    sources += [(node, subscription.description) for node, subscription in declared.subscriptions]
    targets = {entity_key(queue.name) for _, queue in declared.queues}
    targets |= {entity_key(topic.name) for _, topic in declared.topics}
    edges = forwarding_edges(entity for _, entity in sources)
    for node, entity in sources:
        for field_name in ("forward_to", "forward_dead_lettered_messages_to"):
            target = getattr(entity, field_name)
            if target is not None and entity_key(target) not in targets:
                raise _property(node, field_name).wrong("the name of a queue or topic in the configuration")
        if leads_back(entity, edges):
            name = forwarding_source(entity)
            raise _property(node, "forward_to").wrong(f"a target whose forwarding does not lead back to {name}")


def _property(node: Node, field_name: str) -> Node:
    return node.member("Properties").member(property_name(field_name))
