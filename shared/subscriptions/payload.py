"""What a receiver gets of an event: its data as far as the subscriber may see it, or a link to it."""

from collections.abc import Container
from typing import NamedTuple

from pydantic_core import from_json, to_json

from shared.classification import Plan, leaves
from shared.messages import CloudEvent, Registry, rfc3339
from shared.privacy import FieldProtection, masked

from .subscription import PayloadFormat, Subscription

__all__ = ["TEST_EVENT", "Payload", "Payloads", "is_protected", "public_events"]

TEST_EVENT = "sluice.test"
"""The type of the event that a subscriber asks for to try a receiver."""


class Payload(NamedTuple):
    """A body with its content type; `protected`: it may hold protected values in clear."""

    body: bytes
    content_type: str
    protected: bool


def public_events(registry: Registry, hidden: Container[str] = ()) -> dict[str, tuple[Plan, ...]]:
    """By type the events that can be subscribed to, with what is protected in them: no other event leaves the app.

    Parameters
    ----------
    hidden:
        Read models that are nobody's outside, and so are the events that only they are made of.
    """
    plans: dict[str, tuple[Plan, ...]] = {}
    for one in (one for integration in registry.integrations for one in integration.projections):
        if one.view not in hidden:
            known = plans.get(one.event_type, ())
            plans[one.event_type] = (*known, *(() if any(one.plan is each for each in known) else (one.plan,)))
    return dict(sorted(plans.items()))


def is_protected(plan: Plan, path: str) -> bool:
    """Whether what stands at a path (names with dots between them), or anything on the way there, is protected."""
    found: Plan | None = plan
    for name in path.split("."):
        found = None if found is None else found.fields.get(name) or found.values
        if found is not None and found.leaf is not None:
            return True
    return found is not None and found.protects


class Payloads:
    """Makes bodies.

    Parameters
    ----------
    fields:
        Decrypts what a subscriber may see; without it everything is in clear.
    largest:
        Bytes of data that go along; more is a link.
    base_url:
        What a link begins with: where callers reach the API.
    hidden:
        As of `public_events`.
    """

    def __init__(
        self,
        registry: Registry,
        fields: FieldProtection | None,
        *,
        largest: int,
        base_url: str = "",
        hidden: Container[str] = (),
    ) -> None:
        self._plans = public_events(registry, hidden)
        self._fields = fields
        self._largest = largest
        self._base_url = base_url.rstrip("/")

    @property
    def event_types(self) -> tuple[str, ...]:
        """Those that can be subscribed to."""
        return tuple(self._plans)

    async def data(self, event: CloudEvent, subscription: Subscription) -> bytes:
        """The event's data in JSON as the subscriber may see it.

        Raises
        ------
        ProtectionError, KeysUnavailable
        """
        plans, about = self._plans.get(event.type, ()), ("event", event.id, event.type)
        return (await masked(event.data, plans, about, level=subscription.level, fields=self._fields)).body

    async def make(self, event: CloudEvent, subscription: Subscription, delivery: str) -> Payload:
        """The body of a delivery; raises as `data` does."""
        data = await self.data(event, subscription)
        guarding = [plan for plan in self._plans.get(event.type, ()) if plan.protects]
        parsed = from_json(data) if guarding else None
        seen = any(one.leaf.level <= subscription.level for plan in guarding for one in leaves(plan, parsed))
        link = f"{self._base_url}/api/subscriptions/{subscription.id}/deliveries/{delivery}/payload"
        is_link = len(data) > self._largest
        if subscription.payload_format is PayloadFormat.CLOUD_EVENTS:
            return Payload(_cloud_event(event, data, link if is_link else ""), "application/cloudevents+json", seen)
        head = {
            "type": event.type,
            "timestamp": rfc3339(event.time),
            "version": event.version,
            "id": event.id,
            "subject": event.subject,
            "sequence": event.sequence,
        }
        if is_link:
            body = to_json({**head, "data": None, "dataUrl": link, "dataSize": len(data)})
            return Payload(body, "application/json", seen)
        start = to_json(head)
        return Payload(start[:-1] + b',"data":' + data + b"}", "application/json", seen)


def _cloud_event(event: CloudEvent, data: bytes, link: str) -> bytes:
    """In its JSON format; a link is the attribute `dataref` of the extension "Claim Check"."""
    head = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": rfc3339(event.time),
        "datacontenttype": "application/json",
        "dataschema": f"urn:sluice:{event.type}:{event.version}",
        "sequence": f"{event.sequence:012d}",
    }
    if link:
        return to_json({**head, "dataref": link})
    start = to_json(head)
    return start[:-1] + b',"data":' + data + b"}"
