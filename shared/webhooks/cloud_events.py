"""Azure Event Grid and other senders of CloudEvents: a key that both know, and a handshake before anything is sent."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from .incoming import MOST_TRIED, Field, Header, Incoming, NotGenuine, Notice, Reply, Scheme

__all__ = ["CloudEvents", "EventGrid", "SharedKey"]

Place = Header | Field | None
_BINARY = "ce-"


@dataclass(frozen=True, kw_only=True)
class SharedKey(Scheme):
    """The secret itself comes with each request, in a header or as the query parameter `key`."""

    header: str = "x-webhook-key"
    query: ClassVar[frozenset[str]] = frozenset({"key"})

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Compare it with every secret."""
        given = (incoming.headers.get(self.header) or incoming.query.get("key", "")).encode("utf-8", "surrogateescape")
        found = False
        for secret in secrets[:MOST_TRIED]:
            if not secret:
                raise ValueError("a secret is empty")
            found |= hmac.compare_digest(secret.encode(), given)
        if not found:
            raise NotGenuine("it has no key that is known")


@dataclass(frozen=True, kw_only=True)
class CloudEvents(SharedKey):
    """CloudEvents 1.0 over HTTP: binary, structured or a batch; and the consent of "HTTP 1.1 Web Hooks for Event
    Delivery" (an OPTIONS request), which is given to any origin that `origins` names.
    """

    origins: tuple[str, ...] = ("*",)
    topic: Place = Field("type")
    delivery: Place = Field("source", ("id",))
    methods: ClassVar[tuple[str, ...]] = ("POST", "OPTIONS")

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """Consent. Deliveries at any rate: what is too much gets 503."""
        if incoming.method != "OPTIONS":
            return None
        origin = incoming.headers.get("webhook-request-origin", "")
        if not origin or not ("*" in self.origins or origin in self.origins):
            return Reply(403)
        headers = {"Allow": "POST, OPTIONS", "WebHook-Allowed-Origin": origin}
        return Reply(200, headers=headers | ({"WebHook-Allowed-Rate": "*"} if _asks_rate(incoming) else {}))

    def notices(self, incoming: Incoming, content: Any) -> list[Notice]:
        """A binary event's attributes stand in headers; they are put beside its data, as a structured one has them."""
        if _BINARY + "id" not in incoming.headers:
            return super().notices(incoming, content)
        attributes = {
            name[len(_BINARY) :]: value for name, value in incoming.headers.items() if name.startswith(_BINARY)
        }
        return [replace(one, raw=None) for one in super().notices(incoming, {**attributes, "data": content})]


def _asks_rate(incoming: Incoming) -> bool:
    return "webhook-request-rate" in incoming.headers


@dataclass(frozen=True, kw_only=True)
class EventGrid(CloudEvents):
    """Azure Event Grid in its own schema or as CloudEvents, with the secret as a delivery property or in the query.

    https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
    """

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """The code of a validation event comes back; a CloudEvents subscription asks by OPTIONS."""
        if incoming.headers.get("aeg-event-type", "").lower() != "subscriptionvalidation":
            return super().handshake(incoming, content, secrets)
        event = content[0] if isinstance(content, list) and content else None
        data = event.get("data") if isinstance(event, dict) else None
        code = data.get("validationCode") if isinstance(data, dict) else None
        return Reply.of({"validationResponse": code}) if isinstance(code, str) else Reply(400)

    def notices(self, incoming: Incoming, content: Any) -> list[Notice]:
        """Its own schema names topic and id otherwise."""
        return [
            Notice(str(one.content["eventType"]), str(one.content.get("id", "")), one.content)
            if "eventType" in one.content and "specversion" not in one.content
            else one
            for one in super().notices(incoming, content)
        ]
