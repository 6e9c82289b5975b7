"""Event subscriptions: what one is described by, as Resource Manager knows it. No I/O.

Sources (learn.microsoft.com): "Microsoft.EventGrid eventSubscriptions", "Azure Event Grid delivery properties",
"Event Grid message delivery and retry".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.filters import Filter, value_at
from local_azure.eventgrid.policy import LONGEST_LIFE, MOST_ATTEMPTS, RetryPolicy
from local_azure.eventgrid.topics import Schema, Topic

__all__ = ["Batching", "DeliveryAttribute", "Destination", "EventSubscription"]

_NAME: Final = re.compile(r"[A-Za-z0-9-]{3,64}")
_CONTAINER: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
MOST_ATTRIBUTES: Final = 10
LONGEST_ATTRIBUTE: Final = 4_096
"""Bytes."""
_KINDS: Final = {
    "WebHook": "",
    "ServiceBusQueue": "queues",
    "ServiceBusTopic": "topics",
    "EventHub": "eventhubs",
}
"""Destinations, and what stands before an entity's name in its resource id."""


def _refuse(message: str) -> EventGridError:
    return EventGridError(400, "InvalidRequest", message)


@dataclass(frozen=True, slots=True)
class Batching:
    """The most events of one request, and the bytes that it should stay below."""

    events: int = 1
    size: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class DeliveryAttribute:
    """A header, or property of a message, that goes with each event: a fixed text, or what stands in the event."""

    name: str
    value: str = field(default="", repr=False)
    source: str = ""

    def of(self, event: Mapping[str, Any]) -> str | None:
        """Its value for an event; None where the event has none."""
        if not self.source:
            return self.value
        found = value_at(event, self.source)
        if isinstance(found, bool):
            return str(found).lower()
        return str(found) if isinstance(found, str | int | float) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where events go: an address for `WebHook`, the name of an entity for the others."""

    kind: str
    target: str = field(repr=False)
    batching: Batching = field(default_factory=Batching)
    attributes: tuple[DeliveryAttribute, ...] = ()

    @property
    def batched(self) -> bool:
        """Whether events may come together: the subscriber gets an array then, of one event too."""
        return self.batching.events > 1

    @property
    def webhook(self) -> bool:
        """Whether it is reached by HTTP."""
        return self.kind == "WebHook"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubscription:
    """Takes a topic's events that pass a filter to a destination.

    Attributes
    ----------
    dead_letters:
        A container for what can't be delivered; without one it is dropped.
    """

    name: str
    destination: Destination
    schema: Schema
    filter: Filter = field(default_factory=Filter)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    dead_letters: str = ""

    @classmethod
    def read(cls, name: str, content: object, topic: Topic) -> Self:
        """A subscription as the properties of the resource describe it, with an identity or without.

        Raises
        ------
        EventGridError
            The service wouldn't have it either.
        """
        if not _NAME.fullmatch(name):
            raise _refuse(f"The subscription name {name!r} must have 3 to 64 letters, digits and hyphens.")
        known = {"destination", "deliveryWithResourceIdentity", "filter", "eventDeliverySchema", "retryPolicy"}
        known |= {"deadLetterDestination", "deadLetterWithResourceIdentity", "labels"}
        content = _object(content, "A subscription", known)
        destination = _either(content, "destination", "deliveryWithResourceIdentity")
        if destination is None:
            raise _refuse(f"The subscription {name} needs a destination.")
        dead_letters = _either(content, "deadLetterDestination", "deadLetterWithResourceIdentity")
        schema = content.get("eventDeliverySchema") or topic.schema
        if schema not in list(Schema) or (topic.schema is Schema.CLOUD_EVENTS and schema != topic.schema):
            raise _refuse(f"Events of the topic {topic.name} ({topic.schema}) can't be delivered as {schema!r}.")
        return cls(
            name=name,
            destination=_destination(destination),
            schema=Schema(schema),
            filter=Filter.read(_given(content, "filter")),
            retry=_retry(_given(content, "retryPolicy")),
            dead_letters="" if dead_letters is None else _container(dead_letters),
        )


def _object(content: object, what: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise _refuse(f"{what} is a JSON object.")
    if unknown := sorted(set(content) - known):
        raise _refuse(f"{what} has no {unknown[0]}.")
    return content


def _given(content: Mapping[str, Any], name: str) -> object:
    return {} if content.get(name) is None else content[name]


def _either(content: Mapping[str, Any], plain: str, with_identity: str) -> object:
    """A destination, as such or beside the identity that is to be used; which one is all the same here."""
    if content.get(with_identity) is None:
        return content.get(plain)
    if content.get(plain) is not None:
        raise _refuse(f"A subscription has {plain} or {with_identity}, not both.")
    inner = {"destination": "destination", "deadLetterDestination": "deadLetterDestination"}[plain]
    return _object(content[with_identity], with_identity, {"identity", inner}).get(inner)


def _destination(content: object) -> Destination:
    described = _object(content, "A destination", {"endpointType", "properties"})
    kind = described.get("endpointType")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _refuse(f"endpointType is one of {', '.join(_KINDS)}, not {kind!r}.")
    batching = {"maxEventsPerBatch", "preferredBatchSizeInKilobytes"}
    allowed = {"deliveryAttributeMappings", *({"endpointUrl", *batching} if kind == "WebHook" else {"resourceId"})}
    properties = _object(described.get("properties"), f"A {kind}", allowed)
    if kind == "WebHook":
        target = _webhook(properties.get("endpointUrl"))
    else:
        target = _entity(properties.get("resourceId"), _KINDS[kind])
    most = _number(properties, "maxEventsPerBatch", 1, 5_000, usual=1)
    kilobytes = _number(properties, "preferredBatchSizeInKilobytes", 1, 1_024, usual=64)
    return Destination(
        kind=kind,
        target=target,
        batching=Batching(most, 1_024 * kilobytes),
        attributes=_attributes(properties.get("deliveryAttributeMappings") or []),
    )


def _webhook(url: object) -> str:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = parts.hostname or ""
    except ValueError:
        raise _refuse("endpointUrl isn't an address.") from None
    if (parts.scheme == "https" and host) or (parts.scheme == "http" and _is_loopback(host)):
        return str(url)
    raise _refuse("endpointUrl must begin with https; http leads to this machine only.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _named(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise _refuse(f"{name} must be a text.")
    return value


def _entity(resource_id: object, collection: str) -> str:
    before, _, name = _named(resource_id, "resourceId").rpartition(f"/{collection}/")
    if not before or not name or "/" in name:
        raise _refuse(f"resourceId must end with /{collection}/ and a name.")
    return name


def _number(content: Mapping[str, Any], name: str, least: int, most: int, *, usual: int) -> int:
    value = content.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _refuse(f"{name} is {value!r}, must be {least} to {most}.")
    return value


def _retry(content: object) -> RetryPolicy:
    policy = _object(content, "A retryPolicy", {"maxDeliveryAttempts", "eventTimeToLiveInMinutes"})
    return RetryPolicy(
        _number(policy, "maxDeliveryAttempts", 1, MOST_ATTEMPTS, usual=MOST_ATTEMPTS),
        _number(policy, "eventTimeToLiveInMinutes", 1, LONGEST_LIFE, usual=LONGEST_LIFE),
    )


def _container(content: object) -> str:
    described = _object(content, "A deadLetterDestination", {"endpointType", "properties"})
    if described.get("endpointType") != "StorageBlob":
        raise _refuse("A deadLetterDestination is a StorageBlob.")
    name = _object(described.get("properties"), "A StorageBlob", {"resourceId", "blobContainerName"}).get(
        "blobContainerName"
    )
    if not isinstance(name, str) or not _CONTAINER.fullmatch(name):
        raise _refuse("blobContainerName must be the name of a container.")
    return name


def _attributes(content: object) -> tuple[DeliveryAttribute, ...]:
    if not isinstance(content, list) or len(content) > MOST_ATTRIBUTES:
        raise _refuse(f"deliveryAttributeMappings is a list of up to {MOST_ATTRIBUTES}.")
    return tuple(map(_attribute, content))


def _attribute(content: object) -> DeliveryAttribute:
    mapping = _object(content, "A delivery attribute", {"name", "type", "properties"})
    name = _named(mapping.get("name"), "name")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) or name.lower().startswith("aeg-"):
        raise _refuse(f"A delivery attribute can't be called {name[:64]!r}.")
    if mapping.get("type") == "Static":
        value = _object(mapping.get("properties"), name, {"value", "isSecret"}).get("value")
        if not isinstance(value, str) or not value.isprintable() or len(value.encode()) > LONGEST_ATTRIBUTE:
            raise _refuse(f"The value of {name} must be a text of up to {LONGEST_ATTRIBUTE} bytes.")
        return DeliveryAttribute(name, value=value)
    if mapping.get("type") == "Dynamic":
        source = _named(_object(mapping.get("properties"), name, {"sourceField"}).get("sourceField"), "sourceField")
        return DeliveryAttribute(name, source=source)
    raise _refuse(f"The type of the delivery attribute {name} is Static or Dynamic.")
