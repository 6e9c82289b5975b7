"""Operation ids: where to ask what became of a message, without storing anything when it is accepted.

The id holds the message id, its bucket and a mark of the client that sent it, signed: a made-up one is refused, one of
another client too without a look at storage, and a true one is answered by one point read. Beside it, encrypted, stands
what one request submitted, since several may have come under one message id. It isn't part of the id: a release that
doesn't know it reads the id all the same.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass, field, replace
from uuid import UUID

from shared.messages import PayloadHash
from shared.secrets import Keys, RotatingKey

__all__ = ["Operation", "OperationIds", "OperationSigner", "Submission", "mark_of"]

_BODY = struct.Struct(">16sH8s")
_SIGNATURE = 12
"""Bytes of the signature: 96 bits can't be guessed over HTTP."""
_MARK = 8
_REQUEST, _HASH = 8, 32
_BESIDE = "?request="


@dataclass(frozen=True, slots=True)
class Submission:
    """What one request submitted: the hash of its payload, and the request's own number, 16 hexadecimal digits."""

    request: str
    payload: PayloadHash


@dataclass(frozen=True, slots=True)
class Operation:
    """A message, the bucket that holds its inbox record, and the name of the client that sent it.

    An operation that was read from its id knows its client by a mark only.
    """

    message_id: UUID
    bucket: int
    client: str = ""
    mark: bytes = field(default=b"", compare=False)
    submission: Submission | None = field(default=None, compare=False)

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
        keys = (key, *accepted)
        self._keys = tuple(hashlib.sha256(b"sluice operation id\0" + one.encode()).digest() for one in keys)
        self._ciphers = tuple(_Cipher(hashlib.sha512(b"sluice submission\0" + one.encode()).digest()) for one in keys)

    def make(self, operation: Operation) -> str:
        """The id, safe in a URL."""
        body = _BODY.pack(operation.message_id.bytes, operation.bucket, mark_of(operation.client))
        return base64.urlsafe_b64encode(body + _sign(self._keys[0], body)).decode()

    def address(self, operation: Operation) -> str:
        """The id and, as a query, what the request submitted: where that request's outcome is asked for."""
        identity, submission = self.make(operation), operation.submission
        if submission is None:
            return identity
        payload = submission.payload
        forms = (payload.rounded,) if payload.rounded == payload.exact else (payload.rounded, payload.exact)
        content = bytes.fromhex(submission.request + "".join(forms))
        return f"{identity}{_BESIDE}{_text(self._ciphers[0].encrypt(content, identity.encode()))}"

    def read(self, text: str) -> Operation | None:
        """The operation of an id or an address; None when it, or what stands beside it, wasn't made here."""
        identity, beside, request = text.partition(_BESIDE)
        operation = self._operation(identity)
        if operation is None or not beside:
            return operation
        submission = self._submission(identity, request)
        return None if submission is None else replace(operation, submission=submission)

    def _submission(self, identity: str, request: str) -> Submission | None:
        try:
            hidden = base64.b64decode(
                request.encode("ascii") + b"=" * (-len(request) % 4), altchars=b"-_", validate=True
            )
        except (ValueError, binascii.Error):
            return None
        if _text(hidden) != request:
            return None
        for cipher in self._ciphers:
            if (content := cipher.decrypt(hidden, identity.encode())) is not None:
                rounded = content[_REQUEST : _REQUEST + _HASH].hex()
                payload = PayloadHash(rounded, content[_REQUEST + _HASH :].hex() or rounded)
                return Submission(content[:_REQUEST].hex(), payload)
        return None

    def _operation(self, text: str) -> Operation | None:
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


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _Cipher:
    """AES-SIV (RFC 5297), which needs no number used once: the same request may be answered twice."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # with the first request, not at the start

        self._siv = AESSIV(key)

    def encrypt(self, content: bytes, beside: bytes) -> bytes:
        return self._siv.encrypt(content, [beside])

    def decrypt(self, hidden: bytes, beside: bytes) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv.decrypt(hidden, [beside])
        except (InvalidTag, ValueError):
            return None
