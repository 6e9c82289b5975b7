"""Webhooks of others: whether one is genuine, what it tells, and how its sender wants to be answered. No I/O."""

from .cloud_events import CloudEvents, EventGrid, SharedKey
from .hmac_scheme import Hmac
from .incoming import Field, Header, Incoming, NotGenuine, Notice, Reply, Scheme
from .message_signatures import MessageSignatures
from .paypal import PayPal
from .providers import GitHub, HubSpot, Shopify, Slack, StandardWebhooks, Stripe, Twilio, Zoom
from .public_keys import Discord, SendGrid
from .source import ANY_TOPIC, PRESETS, WebhookSource, webhook_event_type

__all__ = [
    "ANY_TOPIC",
    "PRESETS",
    "CloudEvents",
    "Discord",
    "EventGrid",
    "Field",
    "GitHub",
    "Header",
    "Hmac",
    "HubSpot",
    "Incoming",
    "MessageSignatures",
    "NotGenuine",
    "Notice",
    "PayPal",
    "Reply",
    "Scheme",
    "SendGrid",
    "SharedKey",
    "Shopify",
    "Slack",
    "StandardWebhooks",
    "Stripe",
    "Twilio",
    "WebhookSource",
    "Zoom",
    "webhook_event_type",
]
