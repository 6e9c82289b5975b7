"""Senders that sign with a private key of theirs; what is kept here is the public one.

`cryptography` is loaded with the first of their webhooks.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .hmac_scheme import decoded
from .incoming import MOST_TRIED, Field, Header, Incoming, NotGenuine, Reply, Scheme, within_tolerance

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["Discord", "SendGrid", "any_key_signed", "ed25519_key"]

Place = Header | Field | None


def ed25519_key(text: str, encoding: str) -> "Ed25519PublicKey":
    """A public key of 32 bytes; raises ValueError where it is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error):
        raise ValueError("a public key isn't one of Ed25519") from None


def any_key_signed(signatures: Iterable[bytes], secrets: Sequence[str], check: Callable[[str, bytes], None]) -> bool:
    """Whether a check of a public key and a signature passes; it raises InvalidSignature where the two don't fit."""
    from cryptography.exceptions import InvalidSignature

    for signature in signatures:
        for secret in secrets[:MOST_TRIED]:
            with suppress(InvalidSignature):
                check(secret, signature)
                return True
    return False


@dataclass(frozen=True, kw_only=True)
class Discord(Scheme):
    """https://docs.discord.com/developers/interactions/overview, …/events/webhook-events: Ed25519 over time and body.

    The public key of the application is given in hexadecimal. An interaction is answered as deferred; a handler sends
    the rest.
    """

    tolerance: float = 300.0
    topic: Place = Field("event.type")
    delivery: Place = Field("id")

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Any of the public keys."""
        time = incoming.header("x-signature-timestamp")
        within_tolerance(time, now=now, tolerance=self.tolerance)
        signed = time.encode() + incoming.body

        def check(secret: str, signature: bytes) -> None:
            ed25519_key(secret.strip(), "hex").verify(signature, signed)

        if not any_key_signed(decoded([incoming.header("x-signature-ed25519")], "hex"), secrets, check):
            raise NotGenuine("no key has signed it")

    def handshake(self, incoming: Incoming, content: Any, secrets: Sequence[str]) -> Reply | None:
        """Pings: type 1 of interactions (which has no event), type 0 of webhook events."""
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == 0:
            return Reply()
        return Reply.of({"type": 1}) if kind == 1 and "event" not in content else None

    def accepted(self, incoming: Incoming, content: Any) -> Reply:
        """An interaction waits for an answer; an event doesn't."""
        is_event = isinstance(content, dict) and "event" in content
        return Reply() if is_event else Reply.of({"type": 5})


@dataclass(frozen=True, kw_only=True)
class SendGrid(Scheme):
    """https://www.twilio.com/docs/sendgrid/for-developers/tracking-events: ECDSA on P-256 over time and body.

    The public key is given as the settings page shows it: base64 of its SubjectPublicKeyInfo.
    """

    tolerance: float = 300.0
    topic: Place = Field("event")
    delivery: Place = Field("sg_event_id")

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Any of the public keys."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        time = incoming.header("x-twilio-email-event-webhook-timestamp")
        within_tolerance(time, now=now, tolerance=self.tolerance)
        signed = time.encode() + incoming.body

        def check(secret: str, signature: bytes) -> None:
            _ecdsa_key(secret).verify(signature, signed, ECDSA(SHA256()))

        given = incoming.header("x-twilio-email-event-webhook-signature")
        if not any_key_signed(decoded([given], "base64"), secrets, check):
            raise NotGenuine("no key has signed it")


def _ecdsa_key(text: str) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(text.strip(), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise ValueError("a public key can't be read") from None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("a public key isn't one of an elliptic curve")
    return key
