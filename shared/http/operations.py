"""Operation ids: where to ask what became of a message, without storing anything when it is accepted.

The id holds the message id, its bucket and a mark of the client that sent it, signed: a made-up one is refused, one of
another client too without a look at storage, and a true one is answered by one point read.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from uuid import UUID

from shared.secrets import Keys, RotatingKey

__all__ = ["Operation", "OperationIds", "OperationSigner", "mark_of"]

_BODY = struct.Struct(">16sH8s")
_SIGNATURE = 12
"""Bytes of the signature: 96 bits can't be guessed over HTTP."""
_MARK = 8


@dataclass(frozen=True, slots=True)
class Operation:
    """A message, the bucket that holds its inbox record, and the name of the client that sent it.

    An operation that was read from its id knows its client by a mark only.
    """

    message_id: UUID
    bucket: int
    client: str = ""
    mark: bytes = field(default=b"", compare=False)

    def is_of(self, client: str) -> bool:
        """Whether that client sent the message."""
        return hmac.compare_digest(self.mark, mark_of(client))


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
        body = _BODY.pack(operation.message_id.bytes, operation.bucket, mark_of(operation.client))
        return base64.urlsafe_b64encode(body + _sign(self._keys[0], body)).decode()

    def read(self, text: str) -> Operation | None:
        """The operation, or None when the id wasn't made here."""
        try:
            whole = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, signature = whole[: _BODY.size], whole[_BODY.size :]
        if len(whole) != _BODY.size + _SIGNATURE or base64.urlsafe_b64encode(whole).decode() != text:
            return None  # base64 can be padded in more than one way
        if not any(hmac.compare_digest(signature, _sign(key, body)) for key in self._keys):
            return None
        message_id, bucket, mark = _BODY.unpack(body)
        return Operation(UUID(bytes=message_id), bucket, mark=mark)


class OperationSigner:
    """Operation ids with the keys of the moment, which may be a secret that is changed for another."""

    def __init__(self, keys: RotatingKey) -> None:
        self._keys = keys
        self._made: tuple[Keys, OperationIds] | None = None

    async def ids(self) -> OperationIds:
        """What makes and reads ids now; the same object until the keys are others.

        Raises
        ------
        SecretError
            The key is a secret that can't be had.
        """
        keys = await self._keys.keys()
        if self._made is None or self._made[0] is not keys:
            self._made = (keys, OperationIds(*keys.accepted))
        return self._made[1]


def mark_of(client: str) -> bytes:
    """Eight bytes that stand for a client; they tell nobody its name."""
    return hashlib.sha256(b"sluice client\0" + client.encode("utf-8", "surrogatepass")).digest()[:_MARK]


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()[:_SIGNATURE]
