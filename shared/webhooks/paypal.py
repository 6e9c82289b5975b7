"""PayPal: RSA signatures under a certificate that the request names by its address."""

import base64
import binascii
import ssl
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .incoming import MOST_TRIED, Field, Header, Incoming, NotGenuine, Scheme

if TYPE_CHECKING:  # `cryptography` is loaded with the first webhook
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import Certificate

__all__ = ["PayPal", "system_anchors"]

_SIGNER = "messageverificationcerts.paypal.com"


@cache
def system_anchors() -> "tuple[Certificate, ...]":
    """The certificate authorities that this machine trusts."""
    from cryptography.x509 import load_der_x509_certificate

    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return tuple(load_der_x509_certificate(one) for one in found)


@dataclass(frozen=True, kw_only=True)
class PayPal(Scheme):
    """https://developer.paypal.com/api/rest/webhooks/rest/: id, time, the webhook's id and the body's CRC-32.

    What is kept as the secret is the webhook's id, as PayPal shows it.

    Attributes
    ----------
    anchors:
        The authorities under which the certificate has to stand.
    """

    tolerance: float = 3 * 86_400.0
    """Seconds: as long as PayPal tries again, under the time of the first try."""
    anchors: "Callable[[], Sequence[Certificate]]" = system_anchors
    topic: Header | Field | None = Field("event_type")
    delivery: Header | Field | None = Field("id")

    def fetches(self, incoming: Incoming) -> str | None:
        """The certificate, from PayPal's own hosts alone."""
        address = incoming.header("paypal-cert-url")
        try:
            parts = urlsplit(address)
        except ValueError:
            raise NotGenuine("the certificate has no address") from None
        host = parts.hostname or ""
        if parts.scheme != "https" or not host.endswith(".paypal.com") or parts.netloc != host or parts.fragment:
            raise NotGenuine("the certificate isn't at PayPal's")
        return address

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Certificate first, then the signature with each of the webhook's ids."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        if incoming.header("paypal-auth-algo") != "SHA256withRSA":
            raise NotGenuine("it is signed in an unknown way")
        sent = incoming.header("paypal-transmission-time")
        try:
            at = datetime.fromisoformat(sent)
            signature = base64.b64decode(incoming.header("paypal-transmission-sig"), validate=True)
        except (ValueError, binascii.Error):
            raise NotGenuine("its time or signature can't be read") from None
        if at.tzinfo is None or abs((now - at).total_seconds()) > self.tolerance:
            raise NotGenuine("it was signed too long ago, or will be")
        key = self._key(fetched, now)
        for webhook in secrets[:MOST_TRIED]:
            if not webhook:
                raise ValueError("a secret is empty")
            parts = (incoming.header("paypal-transmission-id"), sent, webhook.strip(), str(zlib.crc32(incoming.body)))
            try:
                key.verify(signature, "|".join(parts).encode(), PKCS1v15(), SHA256())
            except InvalidSignature:
                continue
            return
        raise NotGenuine("the certificate hasn't signed it")

    def _key(self, chain: bytes, now: datetime) -> "RSAPublicKey":
        """The key of a certificate that is PayPal's now; raises NotGenuine."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

        try:
            leaf, *between = x509.load_pem_x509_certificates(chain)
            verifier = PolicyBuilder().store(Store(list(self.anchors()))).time(now)
            verifier.build_server_verifier(x509.DNSName(_SIGNER)).verify(leaf, between)
        except (ValueError, VerificationError) as failure:
            raise NotGenuine(f"the certificate isn't PayPal's: {failure}"[:200]) from None
        key = leaf.public_key()
        if not isinstance(key, RSAPublicKey):
            raise NotGenuine("the certificate's key isn't one of RSA")
        return key
