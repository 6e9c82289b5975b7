"""What arrives at an Event Grid webhook: handshakes to answer, or events to hand over. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_azure.host.trigger_data.event_grid import events_of
from local_azure.host.trigger_data.net_json import json_text, parsed

__all__ = ["Delivery", "Handshake", "Refusal", "read_request"]


@dataclass(frozen=True, slots=True)
class Handshake:
    """A validation to answer with 200, this text and these headers."""

    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Events to hand to the function, one invocation each."""

    events: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the extension answers with this status and nothing else."""

    status: int


def read_request(method: str, headers: Mapping[str, str], body: str) -> Handshake | Delivery | Refusal:
    """Tell what a webhook request is.

    Parameters
    ----------
    headers
        Case-insensitive, or with names in lower case.

    Event Grid marks its requests with `aeg-event-type`; CloudEvents subscriptions are validated by OPTIONS, which the
    extension grants to anybody. What it cannot read makes it fail, with 500.
    """
    if method == "OPTIONS":
        return Handshake(headers=(("WebHook-Allowed-Origin", "eventgrid.azure.net"),))
    kind = headers.get("aeg-event-type", "").lower()
    if kind == "unsubscribe":
        return Delivery(())
    if kind not in ("subscriptionvalidation", "notification"):
        return Refusal(400)
    try:
        if kind == "notification":
            events = events_of(body)
            return Delivery(tuple(events)) if all(isinstance(each, dict) for each in events) else Refusal(500)
        return Handshake(json_text({"validationResponse": _validation_code(parsed(body))}))
    except (ValueError, KeyError, IndexError, TypeError):
        return Refusal(500)


def _validation_code(content: Any) -> str:
    """The code in the first event of an array, or in the data of a CloudEvent, which are JSON in a text."""
    if isinstance(content, list):
        return str(content[0]["data"]["validationCode"])
    data = content["data"]
    return str((parsed(data) if isinstance(data, str) else data)["validationCode"])
