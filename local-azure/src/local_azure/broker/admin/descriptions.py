"""Turns descriptions of queues, topics and subscriptions into XML elements and back."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from local_azure.broker.admin import atom
from local_azure.broker.admin.authorization import add_authorization_rules, read_authorization_rules
from local_azure.broker.admin.errors import bad_request
from local_azure.broker.administration import RuntimeCounts
from local_azure.broker.entities import (
    AuthorizationRule,
    EntityStatus,
    InvalidEntityError,
    QueueDescription,
    SubscriptionDescription,
    TopicDescription,
    format_duration,
    parse_duration,
    property_name,
)

__all__ = ["changed", "created", "queue_element", "subscription_element", "topic_element"]

_COUNTS_NAMESPACE = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
_FORWARDS = ("forward_to", "forward_dead_lettered_messages_to")
_Entity = TypeVar("_Entity", QueueDescription, TopicDescription, SubscriptionDescription)


# -- reading ----------------------------------------------------------------------------------------------


def created(entity_type: type[_Entity], element: Element, **names: Any) -> _Entity:
    """A new description from its element; what is absent has the default. Raises `RequestError` (400)."""
    try:
        return entity_type(**names, **_given(entity_type, element))
    except InvalidEntityError as error:
        raise bad_request(f"The value for {property_name(error.field)} is wrong: {error}") from None


def changed(existing: _Entity, element: Element) -> _Entity:
    """An existing description with what the element gives. Raises `RequestError` (400)."""
    try:
        return replace(existing, **_given(type(existing), element))
    except InvalidEntityError as error:
        raise bad_request(f"The value for {property_name(error.field)} is wrong: {error}") from None


def _given(entity_type: type[Any], element: Element) -> dict[str, Any]:
    values = {}
    for name, hint in _FIELDS[entity_type].items():
        found = atom.child(element, property_name(name))
        if found is None or found.get(f"{{{atom.INSTANCE_NAMESPACE}}}nil") == "true":
            continue
        text = (found.text or "").strip()
        if hint not in (str, str | None) and not text:
            continue
        values[name] = _forward_target(text) if name in _FORWARDS else _read(name, text, hint)
    rules = atom.child(element, "AuthorizationRules")
    if rules is not None and entity_type is not SubscriptionDescription:
        values["authorization_rules"] = read_authorization_rules(rules)
    return values


def _read(name: str, text: str, hint: Any) -> object:
    try:
        return _READERS[hint](text)
    except (ValueError, KeyError):
        raise bad_request(f"The value for {property_name(name)} is wrong: {text[:100]!r}") from None


def _forward_target(text: str) -> str | None:
    """A target is given as a name or, by SDKs, as an address such as `sb://host/name`."""
    path = urlsplit(text).path if "://" in text else text
    return path.strip("/") or None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


_READERS: Mapping[Any, Callable[[str], object]] = {
    str: str,
    str | None: lambda text: text or None,
    int: _whole,
    bool: lambda text: {"true": True, "false": False, "1": True, "0": False}[text.lower()],
    timedelta: parse_duration,
    EntityStatus: EntityStatus,
}


_ELSEWHERE = ("name", "topic_name", "rules", "authorization_rules")


def _settable_fields(entity_type: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(entity_type)
    return {f.name: hints[f.name] for f in fields(entity_type) if f.name not in _ELSEWHERE}


_FIELDS = {kind: _settable_fields(kind) for kind in (QueueDescription, TopicDescription, SubscriptionDescription)}


# -- writing ----------------------------------------------------------------------------------------------


def queue_element(queue: QueueDescription, counts: RuntimeCounts, host: str) -> Element:
    """A queue and its counts; `host` is where its forwarding targets are."""
    element = _element("QueueDescription", queue, counts, host)
    _add_sizes(element, counts, queue.authorization_rules)
    _add_total(element, counts)
    atom.add(element, "SupportOrdering", "true")
    return element


def topic_element(topic: TopicDescription, counts: RuntimeCounts, host: str) -> Element:
    """A topic and its counts."""
    element = _element("TopicDescription", topic, counts, host)
    _add_sizes(element, counts, topic.authorization_rules)
    atom.add(element, "SubscriptionCount", str(counts.subscriptions))
    return element


def subscription_element(subscription: SubscriptionDescription, counts: RuntimeCounts, host: str) -> Element:
    """A subscription and its counts."""
    element = _element("SubscriptionDescription", subscription, counts, host)
    _add_total(element, counts)
    return element


def _element(
    kind: str,
    entity: QueueDescription | TopicDescription | SubscriptionDescription,
    counts: RuntimeCounts,
    host: str,
) -> Element:
    element = atom.description(kind)
    for name in _FIELDS[type(entity)]:
        value = getattr(entity, name)
        if value is not None:
            atom.add(element, property_name(name), f"sb://{host}/{value}" if name in _FORWARDS else _write(value))
    _add_times(element, counts)
    _add_details(element, counts)
    atom.add(element, "EntityAvailabilityStatus", "Available")
    return element


def _write(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_duration(value) if isinstance(value, timedelta) else str(value)


def _add_times(element: Element, counts: RuntimeCounts) -> None:
    atom.add(element, "CreatedAt", atom.format_time(counts.created_at))
    atom.add(element, "UpdatedAt", atom.format_time(counts.updated_at))
    atom.add(element, "AccessedAt", atom.format_time(counts.accessed_at))


def _add_sizes(element: Element, counts: RuntimeCounts, rules: Sequence[AuthorizationRule]) -> None:
    atom.add(element, "SizeInBytes", str(counts.size_bytes))
    atom.add(element, "IsAnonymousAccessible", "false")
    add_authorization_rules(element, rules, counts.created_at, counts.updated_at)


def _add_total(element: Element, counts: RuntimeCounts) -> None:
    total = counts.active + counts.scheduled + counts.deferred + counts.dead_letter
    atom.add(element, "MessageCount", str(total + counts.transfer + counts.transfer_dead_letter))


def _add_details(element: Element, counts: RuntimeCounts) -> None:
    details = atom.add(element, "CountDetails", **{"xmlns:d2p1": _COUNTS_NAMESPACE})
    atom.add(details, "d2p1:ActiveMessageCount", str(counts.active))
    atom.add(details, "d2p1:DeadLetterMessageCount", str(counts.dead_letter))
    atom.add(details, "d2p1:ScheduledMessageCount", str(counts.scheduled))
    atom.add(details, "d2p1:TransferMessageCount", str(counts.transfer))
    atom.add(details, "d2p1:TransferDeadLetterMessageCount", str(counts.transfer_dead_letter))
