"""What arrives at an Event Grid webhook: handshakes to answer, or events to hand over. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Delivery", "Handshake", "Refusal", "read_request"]


@dataclass(frozen=True, slots=True)
class Handshake:
    """A validation to answer with this JSON body and these headers."""

    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Events to hand to the function, one invocation each."""

    events: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the extension answers with 400."""

    reason: str


def read_request(method: str, headers: Mapping[str, str], body: bytes) -> Handshake | Delivery | Refusal:
    """Tell what a webhook request is.

    Parameters
    ----------
    headers
        Case-insensitive, or with names in lower case.

    Event Grid marks its requests with `aeg-event-type`; CloudEvents subscriptions are validated by OPTIONS
    (CloudEvents HTTP 1.1 web hooks, section 4).
    """
    if method == "OPTIONS":
        origin = headers.get("webhook-request-origin", "")
        if not origin:
            return Refusal("the header WebHook-Request-Origin is missing")
        return Handshake(headers=(("WebHook-Allowed-Origin", origin), ("WebHook-Allowed-Rate", "*")))
    kind = headers.get("aeg-event-type", "").lower()
    if kind == "unsubscribe":
        return Delivery(())
    if kind not in ("subscriptionvalidation", "notification"):
        return Refusal("the header aeg-event-type must be SubscriptionValidation, Notification or Unsubscribe")
    try:
        events = _events(body)
    except ValueError as error:
        return Refusal(str(error))
    if kind == "notification":
        return Delivery(events)
    code = (
        events[0].get("data", {}).get("validationCode") if events and isinstance(events[0].get("data"), dict) else None
    )
    return Handshake({"validationResponse": code}) if code else Refusal("the validation event has no validationCode")


def _events(body: bytes) -> tuple[dict[str, Any], ...]:
    """An array of events, or one CloudEvent by itself."""
    try:
        content = json.loads(body)
    except ValueError:
        raise ValueError("the body is not valid JSON") from None
    events = content if isinstance(content, list) else [content]
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("the body must be an event or an array of events")
    return tuple(events)
