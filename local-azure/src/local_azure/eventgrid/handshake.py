"""How a webhook proves that it wants events, before it gets any. No I/O.

Sources (learn.microsoft.com): "Endpoint validation with Event Grid event schema", "Endpoint validation with CloudEvents
schema". Without the answer, the owner may open the validation address within ten minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.formats import as_json, time_text
from local_azure.eventgrid.topics import Schema, Topic

__all__ = ["BY_HAND_SECONDS", "ORIGIN", "Question", "Verdict", "judge", "question", "refused"]

ORIGIN: Final = "eventgrid.azure.net"
BY_HAND_SECONDS: Final = 600.0
_RATE: Final = "120"


class Verdict(Enum):
    """What an answer means."""

    VALID = auto()
    BY_HAND = auto()


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the webhook."""

    method: str
    headers: Mapping[str, str]
    body: bytes = b""


def question(
    topic: Topic, schema: Schema, subscription: str, *, code: str, address: str, identity: str, now: float
) -> Question:
    """The request for a schema.

    Parameters
    ----------
    code, address:
        What has to come back, and what is opened instead.
    """
    if schema is Schema.CLOUD_EVENTS:
        return Question(
            "OPTIONS",
            {
                "WebHook-Request-Origin": ORIGIN,
                "WebHook-Request-Callback": address,
                "WebHook-Request-Rate": _RATE,
            },
        )
    event = {
        "id": identity,
        "topic": topic.resource_id,
        "subject": "",
        "data": {"validationCode": code, "validationUrl": address},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": time_text(now),
        "metadataVersion": "1",
        "dataVersion": "2",
    }
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "aeg-event-type": "SubscriptionValidation",
        "aeg-subscription-name": subscription.upper(),
        "aeg-delivery-count": "0",
        "aeg-data-version": "2",
        "aeg-metadata-version": "1",
    }
    return Question("POST", headers, as_json([event]))


def judge(schema: Schema, url: str, status: int, headers: Mapping[str, str], body: bytes, *, code: str) -> Verdict:
    """What an answer means; header names in lower case.

    Raises
    ------
    EventGridError
        The webhook refuses.
    """
    if not 200 <= status <= 204:
        raise refused(url, f"request failed with response code {status}")
    if schema is Schema.CLOUD_EVENTS:
        origins = [one.strip() for one in headers.get("webhook-allowed-origin", "").split(",")]
        return Verdict.VALID if "*" in origins or ORIGIN in origins else Verdict.BY_HAND
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return Verdict.BY_HAND
    answered = content.get("validationResponse") if isinstance(content, dict) else None
    return Verdict.VALID if status == 200 and answered == code else Verdict.BY_HAND


def refused(url: str, why: str) -> EventGridError:
    """The answer to whoever wanted the subscription."""
    return EventGridError(
        400,
        "Url validation",
        f"Webhook validation handshake failed for {url.partition('?')[0]}. Http {why}. "
        "For troubleshooting, visit https://aka.ms/esvalidation.",
    )
