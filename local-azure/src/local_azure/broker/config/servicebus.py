"""Reads the Service Bus emulator's form: `UserConfig.Namespaces[]`."""

from local_azure.broker.config.document import Node
from local_azure.broker.config.namespace import ConfiguredSubscription, Declared
from local_azure.broker.config.properties import Names, build, property_readers, read_properties
from local_azure.broker.config.rules import read_rules
from local_azure.broker.entities import QueueDescription, RuleDescription, SubscriptionDescription, TopicDescription

__all__ = ["read_service_bus"]

_QUEUE = property_readers(QueueDescription, "name", "authorization_rules")
_TOPIC = property_readers(TopicDescription, "name", "authorization_rules")
_SUBSCRIPTION = property_readers(SubscriptionDescription, "name", "topic_name", "rules")


def read_service_bus(namespace: Node, declared: Declared) -> None:
    """Add the entities of one namespace to `declared`. Raises `ConfigError`."""
    parts = namespace.children(("Name", "Queues", "Topics"), ("Name",))
    parts["Name"].text()
    for node in parts["Queues"].items() if "Queues" in parts else ():
        declared.queues.append((node, _read_queue(node)))
    for node in parts["Topics"].items() if "Topics" in parts else ():
        _read_topic(node, declared)


def _read_queue(node: Node) -> QueueDescription:
    parts = node.children(("Name", "Properties"), ("Name",))
    return build(QueueDescription, node, read_properties(parts, _QUEUE), name=parts["Name"].text())


def _read_topic(node: Node, declared: Declared) -> None:
    parts = node.children(("Name", "Properties", "Subscriptions"), ("Name",))
    topic = build(TopicDescription, node, read_properties(parts, _TOPIC), name=parts["Name"].text())
    declared.topics.append((node, topic))
    names = Names()
    for child in parts["Subscriptions"].items() if "Subscriptions" in parts else ():
        subscription = _read_subscription(child, topic.name)
        names.take(child.member("Name"), subscription.description.name)
        declared.subscriptions.append((child, subscription))


def _read_subscription(node: Node, topic_name: str) -> ConfiguredSubscription:
    parts = node.children(("Name", "Properties", "Rules"), ("Name",))
    rules = (read_rules(parts["Rules"]) if "Rules" in parts else ()) or (RuleDescription(),)
    description = build(
        SubscriptionDescription,
        node,
        read_properties(parts, _SUBSCRIPTION),
        topic_name=topic_name,
        name=parts["Name"].text(),
        rules=rules,
    )
    return ConfiguredSubscription(description=description, rules=rules)
