"""A source: who sends webhooks, how they sign, and which secrets of the vault they sign with."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .cloud_events import CloudEvents, EventGrid
from .incoming import Scheme
from .message_signatures import MessageSignatures
from .paypal import PayPal
from .providers import GitHub, HubSpot, Shopify, Slack, StandardWebhooks, Stripe, Twilio, Zoom
from .public_keys import Discord, SendGrid

__all__ = ["ANY_TOPIC", "PRESETS", "WebhookSource", "webhook_event_type"]

ANY_TOPIC = "*"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

PRESETS: Mapping[str, Callable[[], Scheme]] = {
    "cloud-events": CloudEvents,
    "discord": Discord,
    "event-grid": EventGrid,
    "github": GitHub,
    "http-signatures": MessageSignatures,
    "hubspot": HubSpot,
    "paypal": PayPal,
    "sendgrid": SendGrid,
    "shopify": Shopify,
    "slack": Slack,
    "standard": StandardWebhooks,
    "stripe": Stripe,
    "svix": StandardWebhooks.svix,
    "twilio": Twilio,
    "zoom": Zoom,
}
"""A source with one of these names needs no scheme of its own."""


@dataclass(frozen=True, kw_only=True)
class WebhookSource:
    """Who sends to `POST /api/webhooks/{name}`.

    Attributes
    ----------
    secrets:
        Names in the vault; of each, the current version counts, and the one before for a while.
    """

    name: str
    scheme: Scheme
    secrets: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"webhook source {self.name!r}: use up to 32 lower-case letters, digits and hyphens")
        if not self.secrets:
            raise ValueError(f"webhook source {self.name!r}: name the secret of the vault that it signs with")

    @classmethod
    def preset(cls, name: str) -> "WebhookSource":
        """A known sender, whose secret is called `webhook-<name>`; raises ValueError where it isn't known."""
        if name not in PRESETS:
            raise ValueError(
                f"the webhook source {name!r} isn't known: declare it with `receives`, or use {', '.join(PRESETS)}"
            )
        return cls(name=name, scheme=PRESETS[name](), secrets=(f"webhook-{name}",))


def webhook_event_type(source: str, topic: str) -> str:
    """The event type under which what a source tells about a topic is handled."""
    return f"webhook:{source}:{topic}"
