"""Senders that sign by HTTP message signatures (RFC 9421) with Content-Digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.http_signatures import Algorithm, Policy, SignatureRefused, SignedRequest, verify

from .incoming import MOST_TRIED, Field, Header, Incoming, NotGenuine, Scheme

__all__ = ["MessageSignatures"]


@dataclass(frozen=True, kw_only=True)
class MessageSignatures(Scheme):
    """A signature over method, address and body at least: a secret is the sender's public key in PEM or Base64.

    Attributes
    ----------
    algorithm:
        The one that was agreed; with `hmac-sha256` a secret is the shared key in Base64.
    required:
        What a signature has to cover, `content-digest` among it.
    tolerance:
        Seconds that the time of signing may be off.
    key_id, tag, nonce:
        What a signature must name, and whether it needs a nonce. A request that is sent again is the same message
        again, with a nonce or without.
    """

    algorithm: Algorithm = "ed25519"
    required: tuple[str, ...] = ("@method", "@target-uri", "content-digest")
    tolerance: float = 300.0
    key_id: str = ""
    tag: str = ""
    nonce: bool = False
    topic: Header | Field | None = Field("type")
    delivery: Header | Field | None = Field("id")

    def __post_init__(self) -> None:
        self._policy()

    def _policy(self) -> Policy:
        return Policy(
            algorithm=self.algorithm,
            required=self.required,
            tolerance=self.tolerance,
            key_id=self.key_id,
            tag=self.tag,
            nonce=self.nonce,
        )

    def verify(self, incoming: Incoming, secrets: Sequence[str], *, now: datetime, fetched: bytes = b"") -> None:
        """Any of the signatures under any of the keys."""
        request = SignedRequest(incoming.method, incoming.url, incoming.headers, incoming.body)
        try:
            verify(request, secrets[:MOST_TRIED], self._policy(), now=now)
        except SignatureRefused as refused:
            raise NotGenuine(str(refused)) from None
