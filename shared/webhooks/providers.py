"""Senders that sign with a shared secret, each as its own documentation says."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from .hmac_scheme import Hmac, Presented, any_signed, decoded
from .incoming import MOST_TRIED, Field, Header, Incoming, NotGenuine, Reply, within_tolerance
from .public_keys import any_key_signed, ed25519_key

__all__ = ["GitHub", "HubSpot", "Shopify", "Slack", "StandardWebhooks", "Stripe", "Twilio", "Zoom"]

Place = Header | Field | None


@dataclass(frozen=True, kw_only=True)
class StandardWebhooks(Hmac):
    """https://www.standardwebhooks.com, with secrets `whsec_…` (HMAC) or public keys `whpk_…` (Ed25519).

    `StandardWebhooks.svix()` has the older names of the headers.
    """

    header: str = "webhook-signature"
    signed: str = "{webhook-id}.{webhook-timestamp}.{body}"
    timestamp: str = "webhook-timestamp"
    encoding: Literal["hex", "base64"] = "base64"
    prefix: str = "v1,"
    separator: str = " "
    key: Literal["text", "base64", "hex"] = "base64"
    key_prefix: str = "whsec_"
    topic: Place = Field("type")
    delivery: Place = Header("webhook-id")

    @classmethod
    def svix(cls) -> "StandardWebhooks":
        """As https://docs.svix.com names the headers."""
        return cls(
            header="svix-signature",
            signed="{svix-id}.{svix-timestamp}.{body}",
            timestamp="svix-timestamp",
            delivery=Header("svix-id"),
        )

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Both kinds of keys, whichever there are."""
        public = [secret.removeprefix("whpk_") for secret in secrets[:MOST_TRIED] if secret.startswith("whpk_")]
        shared = [secret for secret in secrets if not secret.startswith("whpk_")]
        within_tolerance(incoming.header(self.timestamp), now=now, tolerance=self.tolerance)
        given = incoming.header(self.header).split(" ")
        asymmetric = [one.removeprefix("v1a,") for one in given if one.startswith("v1a,")]
        content = self.content(incoming)

        def check(key: str, signature: bytes) -> None:
            ed25519_key(key, "base64").verify(signature, content)

        if any_key_signed(decoded(asymmetric, "base64"), public, check):
            return
        if not shared:
            raise NotGenuine("no key has signed it")
        super().verify(incoming, shared, now=now)


@dataclass(frozen=True, kw_only=True)
class GitHub(Hmac):
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries."""

    header: str = "x-hub-signature-256"
    prefix: str = "sha256="
    topic: Place = Header("x-github-event")
    delivery: Place = Header("x-github-delivery")

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """The ping of a new webhook."""
        return Reply() if incoming.headers.get("x-github-event") == "ping" else None


@dataclass(frozen=True, kw_only=True)
class Stripe(Hmac):
    """https://docs.stripe.com/webhooks#verify-manually: `t=…,v1=…`; the secret `whsec_…` counts as it is written."""

    header: str = "stripe-signature"
    topic: Place = Field("type")
    delivery: Place = Field("id")

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """The time is part of the header."""
        within_tolerance(_pairs(incoming.header(self.header), "t")[0], now=now, tolerance=self.tolerance)
        super().verify(incoming, secrets, now=now)

    def presented(self, incoming: Incoming) -> Presented:
        """The signatures under `v1`; those of other versions count for nothing."""
        header = incoming.header(self.header)
        signed = f"{_pairs(header, 't')[0]}.".encode("latin-1", "replace") + incoming.body
        return Presented(tuple(decoded(_pairs(header, "v1"), "hex")), (signed,))


def _pairs(header: str, name: str) -> list[str]:
    """The values under a name; one at least."""
    found = [one.strip().partition("=")[2] for one in header.split(",") if one.strip().startswith(f"{name}=")]
    if not found or (name == "t" and len(found) > 1):
        raise NotGenuine(f"the signature has not one {name}")
    return found


@dataclass(frozen=True, kw_only=True)
class Shopify(Hmac):
    """https://shopify.dev/docs/apps/build/webhooks/subscribe/https."""

    header: str = "x-shopify-hmac-sha256"
    encoding: Literal["hex", "base64"] = "base64"
    topic: Place = Header("x-shopify-topic")
    delivery: Place = Header("x-shopify-webhook-id")


@dataclass(frozen=True, kw_only=True)
class Slack(Hmac):
    """https://docs.slack.dev/authentication/verifying-requests-from-slack."""

    header: str = "x-slack-signature"
    signed: str = "v0:{x-slack-request-timestamp}:{body}"
    timestamp: str = "x-slack-request-timestamp"
    prefix: str = "v0="
    topic: Place = Field("event.type")
    delivery: Place = Field("event_id")

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """The challenge with which an address is confirmed."""
        if isinstance(content, dict) and content.get("type") == "url_verification":
            return Reply.of({"challenge": str(content.get("challenge", ""))})
        return None


@dataclass(frozen=True, kw_only=True)
class Zoom(Hmac):
    """https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events. Zoom has no id for a delivery."""

    header: str = "x-zm-signature"
    signed: str = "v0:{x-zm-request-timestamp}:{body}"
    timestamp: str = "x-zm-request-timestamp"
    prefix: str = "v0="
    topic: Place = Field("event")

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """The token that comes back with its HMAC under the secret."""
        if not (isinstance(content, dict) and content.get("event") == "endpoint.url_validation"):
            return None
        payload = content.get("payload")
        token = str(payload.get("plainToken", "")) if isinstance(payload, dict) else ""
        presented = self.presented(incoming)
        keys = [self.key_of(secret) for secret in secrets[:MOST_TRIED]]
        key = next(one for one in keys if any_signed(presented, [one], self.algorithm))  # which is what it knows
        signed = hmac.digest(key, token.encode("utf-8", "replace"), "sha256").hex()
        return Reply.of({"plainToken": token, "encryptedToken": signed})


@dataclass(frozen=True, kw_only=True)
class HubSpot(Hmac):
    """https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation (v3)."""

    header: str = "x-hubspot-signature-v3"
    signed: str = "{method}{url}{body}{x-hubspot-request-timestamp}"
    timestamp: str = "x-hubspot-request-timestamp"
    per_second: int = 1_000
    encoding: Literal["hex", "base64"] = "base64"
    topic: Place = Field("subscriptionType")
    delivery: Place = Field("eventId", ("subscriptionId", "objectId", "occurredAt"))

    def content(self, incoming: Incoming) -> bytes:
        """Some escapes of the address are signed as the characters that they stand for."""
        before, mark, query = incoming.url.partition("?")
        for escape in ("%3A", "%2F", "%3F", "%40", "%21", "%24", "%27", "%28", "%29", "%2A", "%2C", "%3B"):
            query = query.replace(escape, unquote(escape)).replace(escape.lower(), unquote(escape))
        time = incoming.header(self.timestamp)
        return f"{incoming.method}{before}{mark}{query}".encode() + incoming.body + time.encode("latin-1", "replace")


@dataclass(frozen=True, kw_only=True)
class Twilio(Hmac):
    """https://www.twilio.com/docs/usage/security#validating-requests: the address with the fields of a form, sorted.

    A body in JSON is signed by its hash, which is a parameter of the address.
    """

    header: str = "x-twilio-signature"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha1"
    encoding: Literal["hex", "base64"] = "base64"
    delivery: Place = Header("i-twilio-idempotency-token")
    query: ClassVar[frozenset[str]] = frozenset({"bodySHA256"})

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """The address with and without its port: Twilio signs either."""
        fields, named = "", incoming.query.get("bodySHA256")
        if named is not None:
            digest = hashlib.sha256(incoming.body).hexdigest().encode()
            if not hmac.compare_digest(digest, named.lower().encode("utf-8", "replace")):
                raise NotGenuine("the body isn't the one that was signed")
        else:
            fields = "".join(f"{name}{value}" for name, value in sorted(set(_form(incoming.body))))
        signatures = tuple(decoded([incoming.header(self.header)], self.encoding))
        presented = Presented(
            signatures, tuple((url + fields).encode() for url in _with_and_without_port(incoming.url))
        )
        if not any_signed(presented, [self.key_of(secret) for secret in secrets[:MOST_TRIED]], self.algorithm):
            raise NotGenuine("no secret has signed it")


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000)
    except ValueError:
        raise NotGenuine("the body is no form") from None


def _with_and_without_port(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    default: Mapping[str, int] = {"https": 443, "http": 80}
    yield url
    if parts.port is None and parts.scheme in default:
        yield parts._replace(netloc=f"{parts.netloc}:{default[parts.scheme]}").geturl()
    elif parts.port is not None:
        yield parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()
