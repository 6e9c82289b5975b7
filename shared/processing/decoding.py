"""The first stage, decode: from a delivery to a message: headers, claim, envelope, model."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime

from opentelemetry.trace import SpanKind
from pydantic import BaseModel

from shared.claim_check import Claim, ClaimStore
from shared.encryption import Erased, MessageEncryption, UnknownKey
from shared.messages import (
    ERASED_PROPERTY,
    Delivery,
    Handler,
    Headers,
    InvalidMessage,
    MessageError,
    Registry,
    parse_strict,
    payload_hash,
    stored_hashes,
    unknown_fields,
)
from shared.state import bucket_of
from shared.telemetry import Metrics, Name, span
from shared.work import Dead, Ended, Message

from .failures import classify

__all__ = ["Decoder"]

_IN_THREAD = 256 * 1024
"""Larger bodies are parsed outside the event loop."""
_LARGE = 1024 * 1024
_LARGE_AT_ONCE = 2
"""Of a batch of large claims only so many are fetched and parsed side by side: each takes many times its size."""


class Decoder:
    """Reads deliveries; every failure is a MessageError, those of storage and of the key service aside.

    Parameters
    ----------
    encryption:
        Decrypts what is encrypted; without one an encrypted message can't be read.
    refuse_erased:
        Given a message's data and when it was accepted: raises Erased where its person was erased since.
    payload_hashes:
        Given the digest of what a message with protected fields says: how the inbox keeps it, and kept it earlier.
    """

    def __init__(
        self,
        registry: Registry,
        claims: ClaimStore,
        *,
        buckets: int,
        encryption: MessageEncryption | None = None,
        refuse_erased: Callable[[BaseModel, datetime], Awaitable[None]] | None = None,
        payload_hashes: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
    ) -> None:
        self._registry = registry
        self._claims = claims
        self._buckets = buckets
        self._encryption = encryption
        self._refuse_erased = refuse_erased
        self._payload_hashes = payload_hashes
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, delivery: Delivery) -> Message | Ended:
        """The message of a delivery; one that can't be decoded is dead."""
        headers: Headers | None = None
        try:
            headers = Headers.from_properties(delivery.properties)
            return await self.decode(delivery, headers)
        except MessageError as error:
            return Ended(delivery, Dead(classify(error)), headers)

    async def decode(self, delivery: Delivery, headers: Headers) -> Message:
        """The message of a delivery.

        Raises
        ------
        MessageError
            Unknown contract, wrong data, a claim that is missing or changed, what is encrypted and can't be decrypted.
        """
        if delivery.properties.get(ERASED_PROPERTY):
            raise Erased("The content of the message was erased.")
        handler = self._registry.handler(headers.event_type, headers.version)
        async with self._large if (headers.claim_size or 0) > _LARGE else nullcontext():
            body = await self.payload(delivery, headers)
            if len(body) > _IN_THREAD:
                message = await asyncio.to_thread(self._read, delivery, body, headers, handler)
            else:
                message = self._read(delivery, body, headers, handler)
        if self._refuse_erased is not None:
            await self._refuse_erased(message.data, headers.accepted_at or headers.first_attempt_at)
        if self._payload_hashes is not None and handler.plan.protects:
            kept, *earlier = await stored_hashes(message.payload_hash, self._payload_hashes)
            return replace(message, payload_hash=kept, earlier_hashes=tuple(earlier))
        return message

    def _read(self, delivery: Delivery, body: bytes, headers: Headers, handler: Handler) -> Message:
        envelope = handler.decode(body)
        if envelope.message_id != headers.message_id:
            raise InvalidMessage("messageId: differs from the one in the application properties")
        key = handler.key_of(envelope.data)
        if key != headers.key:
            raise InvalidMessage("key: differs from the one in the application properties")
        data = parse_strict(body)["data"]
        sent = handler.as_sent(body) if handler.upcasters else envelope
        if sent is not None and (more := sum(1 for _ in unknown_fields(sent.data, data))):
            Metrics.unknown_fields.add(more, event_type=headers.event_type, version=headers.version)
        return Message(
            delivery=delivery,
            headers=headers,
            handler=handler,
            data=envelope.data,
            payload_hash=payload_hash(headers.event_type, headers.version, data),
            bucket=bucket_of(key, self._buckets),
        )

    async def payload(self, delivery: Delivery, headers: Headers) -> bytes:
        """What the message says, decrypted, whether it travels in it or as a claim; raises as `decode` does."""
        if headers.claim is None:
            if self._encryption is not None:
                return await self._encryption.decrypt(headers, delivery.body)
            if headers.sealed is not None:
                raise UnknownKey("The message is encrypted, and the settings name no data key.")
            return delivery.body
        if headers.claim_sha256 is None or headers.claim_size is None:
            raise InvalidMessage("The claim is incomplete: claimSha256 and claimSize belong to it.")
        claim = Claim(headers.claim, headers.claim_sha256, headers.claim_size, headers.claim_encoding)
        if self._encryption is not None:
            self._encryption.check(encrypted=claim.is_encrypted)
        attributes = {Name.CLAIM_SIZE: claim.size}
        with span("get claim", kind=SpanKind.CLIENT, parent=delivery.span, attributes=attributes):
            return await self._claims.get(headers.message_id, claim)
