"""What one request submitted, encrypted: it stands beside an operation's id, since many may come under one message id.

It isn't part of the id: a release that doesn't know it reads the id all the same.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.messages import PayloadHash

__all__ = ["Submission", "Submissions"]

_REQUEST, _HASH = 8, 32
"""Bytes of the request's number, and of each form of the payload's hash."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The hash of a request's payload, and the request's own number: 16 hexadecimal digits."""

    request: str
    payload: PayloadHash


class Submissions:
    """Encrypts by AES-SIV (RFC 5297), which needs no number used once; bound to the id beside which it stands.

    Parameters
    ----------
    keys:
        The first encrypts, each of them decrypts.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # with the first request, not at the start

        self._ciphers = [AESSIV(hashlib.sha512(b"sluice submission\0" + key.encode()).digest()) for key in keys]

    def write(self, submission: Submission, identity: str) -> str:
        """As text, safe in a URL."""
        payload = submission.payload
        forms = (payload.rounded,) if payload.rounded == payload.exact else (payload.rounded, payload.exact)
        content = bytes.fromhex(submission.request + "".join(forms))
        return _text(self._ciphers[0].encrypt(content, [identity.encode()]))

    def read(self, text: str, identity: str) -> Submission | None:
        """The submission; None when it wasn't written here, for this id."""
        from cryptography.exceptions import InvalidTag

        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            hidden = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        if _text(hidden) != text:
            return None  # base64 can be padded in more than one way
        for cipher in self._ciphers:
            try:
                content = cipher.decrypt(hidden, [identity.encode()])
            except (InvalidTag, ValueError):
                continue
            rounded = content[_REQUEST : _REQUEST + _HASH].hex()
            exact = content[_REQUEST + _HASH :].hex() or rounded
            return Submission(content[:_REQUEST].hex(), PayloadHash(rounded, exact))
        return None


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
