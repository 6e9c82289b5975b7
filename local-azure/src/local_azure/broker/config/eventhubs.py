"""Reads the Event Hubs emulator's form: `UserConfig.NamespaceConfig[]`."""

from local_azure.broker.config.document import Node
from local_azure.broker.config.namespace import Declared
from local_azure.broker.config.properties import Names, build, property_readers, read_fields
from local_azure.broker.entities import ConsumerGroup, EventHubDescription

__all__ = ["read_event_hubs"]

_EVENT_HUB = property_readers(EventHubDescription, "name", "consumer_groups")
_GROUP = property_readers(ConsumerGroup, "name")


def read_event_hubs(namespace: Node, declared: Declared) -> None:
    """Add the entities of one namespace to `declared`. Raises `ConfigError`."""
    parts = namespace.children(("Type", "Name", "Entities"), ("Name",))
    parts["Name"].text()
    if "Type" in parts and parts["Type"].value != "EventHub":
        raise parts["Type"].wrong('"EventHub"')
    for node in parts["Entities"].items() if "Entities" in parts else ():
        declared.event_hubs.append((node, _read_event_hub(node)))


def _read_event_hub(node: Node) -> EventHubDescription:
    parts = node.children(("Name", "ConsumerGroups", *_EVENT_HUB), ("Name",))
    values = read_fields({key: part for key, part in parts.items() if key in _EVENT_HUB}, _EVENT_HUB)
    names = Names()
    groups = []
    for child in parts["ConsumerGroups"].items() if "ConsumerGroups" in parts else ():
        group = _read_consumer_group(child)
        names.take(child.member("Name"), group.name)
        groups.append(group)
    return build(EventHubDescription, node, values, name=parts["Name"].text(), consumer_groups=tuple(groups))


def _read_consumer_group(node: Node) -> ConsumerGroup:
    parts = node.children(("Name", *_GROUP), ("Name",))
    values = read_fields({key: part for key, part in parts.items() if key in _GROUP}, _GROUP)
    return build(ConsumerGroup, node, values, name=parts["Name"].text())
