"""Tells whether auto-forwarding leads a message back to where it was."""

from collections.abc import Iterable, Mapping

from local_azure.broker.entities import QueueDescription, SubscriptionDescription, entity_key

__all__ = ["forwarding_edges", "forwarding_source", "leads_back"]


def forwarding_edges(entities: Iterable[QueueDescription | SubscriptionDescription]) -> dict[str, set[str]]:
    """Which queue or topic forwards to which, by `entity_key`; a topic does so through its subscriptions."""
    edges: dict[str, set[str]] = {}
    for entity in entities:
        if entity.forward_to is not None:
            edges.setdefault(forwarding_source(entity), set()).add(entity_key(entity.forward_to))
    return edges


def forwarding_source(entity: QueueDescription | SubscriptionDescription) -> str:
    """The key of the queue or topic that messages come from."""
    return entity_key(entity.name if isinstance(entity, QueueDescription) else entity.topic_name)


def leads_back(entity: QueueDescription | SubscriptionDescription, edges: Mapping[str, set[str]]) -> bool:
    """Whether what `entity` forwards can come back to it along `edges`."""
    if entity.forward_to is None:
        return False
    origin = forwarding_source(entity)
    waiting = [entity_key(entity.forward_to)]
    found = set(waiting)
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return origin in found
