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
        Secret of 32 characters or more; ids made with another one are refused.
    """

    def __init__(self, key: str) -> None:
        self._key = hashlib.sha256(b"sluice operation id\0" + key.encode()).digest()

    def make(self, operation: Operation) -> str:
        """The id, safe in a URL."""
        body = operation.message_id.bytes + operation.bucket.to_bytes(2, "big")
        return base64.urlsafe_b64encode(body + self._sign(body)).decode()

    def read(self, text: str) -> Operation | None:
        """The operation, or None when the id wasn't made here."""
        try:
            whole = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, signature = whole[:18], whole[18:]
        if len(whole) != 18 + _SIGNATURE or not hmac.compare_digest(signature, self._sign(body)):
            return None
        operation = Operation(UUID(bytes=body[:16]), int.from_bytes(body[16:], "big"))
        return operation if self.make(operation) == text else None  # base64 can be padded in more than one way

    def _sign(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()[:_SIGNATURE]
