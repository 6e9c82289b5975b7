"""Operation ids: where to ask what became of a message, without storing anything when it is accepted.

The id holds the message id and its bucket, signed, so that a made-up one is refused and a true one is answered
by one point read.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

__all__ = ["Operation", "OperationIds"]

_SIGNATURE = 12
"""Bytes of the signature: 96 bits can't be guessed over HTTP."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A message and the bucket that holds its inbox record."""

    message_id: UUID
    bucket: int


class OperationIds:
    """Makes and checks operation ids.

    Parameters
    ----------
    key:
        Secret of 32 characters or more that signs.
    accepted:
        Further ones whose ids are read as well, while a key is changed for another; any other id is refused.
    """

    def __init__(self, key: str, *accepted: str) -> None:
        self._keys = tuple(hashlib.sha256(b"sluice operation id\0" + one.encode()).digest() for one in (key, *accepted))

    def make(self, operation: Operation) -> str:
        """The id, safe in a URL."""
        body = operation.message_id.bytes + operation.bucket.to_bytes(2, "big")
        return base64.urlsafe_b64encode(body + _sign(self._keys[0], body)).decode()

    def read(self, text: str) -> Operation | None:
        """The operation, or None when the id wasn't made here."""
        try:
            whole = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, signature = whole[:18], whole[18:]
        if len(whole) != 18 + _SIGNATURE or base64.urlsafe_b64encode(whole).decode() != text:
            return None  # base64 can be padded in more than one way
        if not any(hmac.compare_digest(signature, _sign(key, body)) for key in self._keys):
            return None
        return Operation(UUID(bytes=body[:16]), int.from_bytes(body[16:], "big"))


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()[:_SIGNATURE]
