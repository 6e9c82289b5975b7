"""Events, topics and subscriptions, as publishers and owners write them."""

from __future__ import annotations

import json
from typing import Any

from local_azure.eventgrid import Attempt, EventSubscription, Grid, Schema, Topic

__all__ = [
    "CLOUD",
    "GRID_TYPE",
    "ORDERS",
    "cloud_event",
    "grid_event",
    "only",
    "published",
    "subscription",
    "subscription_of",
]

CLOUD = "application/cloudevents-batch+json; charset=utf-8"
GRID_TYPE = "application/json; charset=utf-8"
ORDERS = Topic(name="orders", schema=Schema.CLOUD_EVENTS)


def cloud_event(**attributes: Any) -> dict[str, Any]:
    """A CloudEvent, with attributes of its own."""
    return {"specversion": "1.0", "id": "1", "source": "/orders", "type": "order.accepted", **attributes}


def grid_event(**fields: Any) -> dict[str, Any]:
    """An event in Event Grid's schema."""
    return {
        "id": "1",
        "subject": "/orders/1",
        "eventType": "order.accepted",
        "eventTime": "2026-11-30T12:00:00Z",
        "dataVersion": "1.0",
        "data": {"total": 5},
        **fields,
    }


def subscription(content: dict[str, Any] | None = None, topic: Topic = ORDERS, **webhook: Any) -> EventSubscription:
    """A subscription of a webhook, with further properties."""
    properties = {"endpointUrl": "https://shop.example/hook", **webhook}
    destination = {"endpointType": "WebHook", "properties": properties}
    return EventSubscription.read("to-shop", {"destination": destination, **(content or {})}, topic)


def subscription_of(filters: dict[str, Any], topic: Topic = ORDERS) -> EventSubscription:
    """A subscription with a filter."""
    return subscription({"filter": filters}, topic)


def published(grid: Grid, *events: dict[str, Any], now: float = 0.0) -> None:
    """Publish CloudEvents to the topic of orders."""
    grid.publish("orders", json.dumps(list(events)).encode(), CLOUD, now=now)


def only(grid: Grid, now: float) -> Attempt:
    """The one attempt that is due."""
    (attempt,), _ = grid.due(now)
    return attempt
