"""How an event is written for a subscriber, and for the container of dead letters. No I/O.

Sources (learn.microsoft.com): "Use CloudEvents v1.0 schema with Event Grid", "Event Grid message delivery and retry".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from local_azure.eventgrid.subscriptions import EventSubscription
from local_azure.eventgrid.topics import Schema

__all__ = ["as_json", "batch_body", "blob_name", "content_type", "dead_letter", "delivered", "headers", "time_text"]


def as_json(content: object) -> bytes:
    """As it travels."""
    try:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: it stays as it was escaped
        return json.dumps(content, separators=(",", ":")).encode()


def time_text(seconds: float) -> str:
    """A time, in seconds since 1970, as the service writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def delivered(event: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """An event in the schema of the subscription: one in Event Grid's own can become a CloudEvent."""
    if schema is Schema.EVENT_GRID or "specversion" in event:
        return dict(event)
    return {
        "specversion": "1.0",
        "id": event["id"],
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        **({"data": event["data"]} if "data" in event else {}),
        **({"dataversion": event["dataVersion"]} if event["dataVersion"] else {}),
    }


def content_type(subscription: EventSubscription) -> str:
    """Of a request, or of the message of one event."""
    if subscription.schema is Schema.EVENT_GRID:
        return "application/json; charset=utf-8"
    batch = "-batch" if subscription.destination.batched else ""
    return f"application/cloudevents{batch}+json; charset=utf-8"


def headers(subscription: EventSubscription, event: Mapping[str, Any], attempts: int) -> dict[str, str]:
    """What goes beside an event: headers, or properties of a message; `attempts` is how many failed before."""
    own = {
        "aeg-event-type": "Notification",
        "aeg-subscription-name": subscription.name.upper(),
        "aeg-delivery-count": str(attempts),
        "aeg-data-version": str(event.get("dataVersion") or ""),
        "aeg-metadata-version": "0" if "specversion" in event else "1",
    }
    for attribute in subscription.destination.attributes:
        value = attribute.of(event)
        if value is not None:
            own[attribute.name] = value
    return own


def dead_letter(
    event: Mapping[str, Any], *, reason: str, attempts: int, outcome: str, published: float, attempted: float | None
) -> dict[str, Any]:
    """An event with why it wasn't delivered; CloudEvents have attributes in lower case only."""
    detail: dict[str, Any] = {
        "deadLetterReason": reason,
        "deliveryAttempts": attempts,
        "lastDeliveryOutcome": outcome,
        "publishTime": time_text(published),
        **({} if attempted is None else {"lastDeliveryAttemptTime": time_text(attempted)}),
    }
    if "specversion" in event:
        detail = {name.lower(): value for name, value in detail.items()}
    return {**event, **detail}


def blob_name(topic: str, subscription: str, seconds: float, identity: str) -> str:
    """Where a blob of dead letters stands in its container."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{topic}/{subscription.upper()}/{at.year}/{at.month}/{at.day}/{at.hour}/{identity}.json"


def batch_body(events: Sequence[Mapping[str, Any]], subscription: EventSubscription) -> bytes:
    """The body of a request to a webhook: a single CloudEvent stands alone, everything else in an array."""
    if subscription.schema is Schema.CLOUD_EVENTS and not subscription.destination.batched:
        return as_json(events[0])
    return as_json(list(events))
