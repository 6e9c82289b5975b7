"""Signed ids, of operations, uploads and bulks: what they say needn't be stored.

An operation's id says where to ask what became of a message. It holds the message id, its bucket and a mark of the
client that sent it, signed: a made-up one is refused, one of another client too without a look at storage, and a true
one is answered by one point read. Beside the id stands what the one request submitted, encrypted, since many may come
under one message id; it isn't part of it: a release that doesn't know it reads the id all the same.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from shared.audit import SecurityEvent, security_event
from shared.messages import PayloadHash
from shared.secrets import Keys, RotatingKey

__all__ = ["Operation", "OperationIds", "OperationSigner", "Submission", "Submissions", "mark_of"]

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


_BODY = struct.Struct(">16sH8s")
_UPLOAD = struct.Struct(">16s8sQ")
_BULK = struct.Struct(">16s8s")
_UPLOADS, _BULK_UPLOADS, _BULKS = b"upload\0", b"bulk upload\0", b"bulk\0"
"""Signed with it, the id of an upload or a bulk is never taken for an operation's."""
_SIGNATURE = 12
"""Bytes of the signature: 96 bits can't be guessed over HTTP."""
_MARK = 8
_BESIDE = "?request="


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
        self._submissions = Submissions(keys)

    def make(self, operation: Operation) -> str:
        """The id, safe in a URL."""
        return self._signed(_BODY.pack(operation.message_id.bytes, operation.bucket, mark_of(operation.client)))

    def address(self, operation: Operation) -> str:
        """The id and, as a query, what the request submitted: where that request's outcome is asked for."""
        identity = self.make(operation)
        if operation.submission is None:
            return identity
        return f"{identity}{_BESIDE}{self._submissions.write(operation.submission, identity)}"

    def read(self, text: str) -> Operation | None:
        """The operation of an id or an address; None when it, or what stands beside it, wasn't made here."""
        identity, beside, written = text.partition(_BESIDE)
        body = self._opened(identity, _BODY.size)
        if body is None:
            return None
        message_id, bucket, mark = _BODY.unpack(body)
        operation = Operation(UUID(bytes=message_id), bucket, mark=mark)
        if not beside:
            return operation
        submission = self._submissions.read(written, identity)
        return None if submission is None else replace(operation, submission=submission)

    def make_upload(self, name: UUID, client: str, *, ends: datetime, bulk: bool = False) -> str:
        """The id of an upload that this client may fill, and name in a message or a bulk, until then."""
        purpose = _BULK_UPLOADS if bulk else _UPLOADS
        return self._signed(_UPLOAD.pack(name.bytes, mark_of(client), int(ends.timestamp())), purpose)

    def read_upload(self, text: str, client: str, *, now: datetime, bulk: bool = False) -> UUID | None:
        """The upload's name; None when the id wasn't made here so, is another client's, or has ended."""
        body = self._opened(text, _UPLOAD.size, _BULK_UPLOADS if bulk else _UPLOADS)
        if body is None:
            return None
        name, mark, ends = _UPLOAD.unpack(body)
        if not hmac.compare_digest(mark, mark_of(client)) or now.timestamp() >= ends:
            return None
        return UUID(bytes=name)

    def make_bulk(self, name: UUID, client: str) -> str:
        """The id of a bulk of this client."""
        return self._signed(_BULK.pack(name.bytes, mark_of(client)), _BULKS)

    def read_bulk(self, text: str) -> tuple[UUID, bytes] | None:
        """A bulk's name and the mark of its client; None when the id wasn't made here."""
        body = self._opened(text, _BULK.size, _BULKS)
        if body is None:
            return None
        name, mark = _BULK.unpack(body)
        return UUID(bytes=name), mark

    def _signed(self, body: bytes, purpose: bytes = b"") -> str:
        return base64.urlsafe_b64encode(body + _sign(self._keys[0], purpose + body)).decode()

    def _opened(self, text: str, size: int, purpose: bytes = b"") -> bytes | None:
        try:
            whole = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        body, signature = whole[:size], whole[size:]
        if len(whole) != size + _SIGNATURE or base64.urlsafe_b64encode(whole).decode() != text:
            return None  # base64 can be padded in more than one way
        if not any(hmac.compare_digest(signature, _sign(key, purpose + body)) for key in self._keys):
            security_event(SecurityEvent.BAD_SIGNATURE, "an id that names no operation, upload or bulk of this app")
            return None
        return body


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
