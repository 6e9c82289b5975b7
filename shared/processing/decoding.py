"""From a delivery to a message: headers, claim, envelope, model."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace

from shared.claim_check import Claim, ClaimStore
from shared.encryption import MessageEncryption, UnknownKey
from shared.messages import Handler, Headers, InvalidMessage, Registry, fingerprint, parse_strict
from shared.state import bucket_of

from .outcomes import Delivery, Message

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
        Opens what is sealed; without one a sealed message can't be read.
    fingerprints:
        Given the digest of what a message with protected fields says: how the inbox keeps it, and kept it earlier.
    """

    def __init__(
        self,
        registry: Registry,
        claims: ClaimStore,
        *,
        buckets: int,
        encryption: MessageEncryption | None = None,
        fingerprints: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
    ) -> None:
        self._registry = registry
        self._claims = claims
        self._buckets = buckets
        self._encryption = encryption
        self._fingerprints = fingerprints
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def decode(self, delivery: Delivery, headers: Headers) -> Message:
        """The message of a delivery.

        Raises
        ------
        MessageError
            Unknown contract, wrong data, a claim that is missing or changed, what is sealed and can't be opened.
        """
        handler = self._registry.handler(headers.event_type, headers.version)
        async with self._large if (headers.claim_size or 0) > _LARGE else nullcontext():
            body = await self._payload(delivery, headers)
            if len(body) > _IN_THREAD:
                message = await asyncio.to_thread(self._read, body, headers, handler)
            else:
                message = self._read(body, headers, handler)
        if self._fingerprints is not None and handler.plan.protects:
            kept, *earlier = await self._fingerprints(message.fingerprint)
            return replace(message, fingerprint=kept, earlier_fingerprints=tuple(earlier))
        return message

    def _read(self, body: bytes, headers: Headers, handler: Handler) -> Message:
        envelope = handler.decode(body)
        if envelope.message_id != headers.message_id:
            raise InvalidMessage("messageId: differs from the one in the application properties")
        key = handler.key_of(envelope.data)
        if key != headers.key:
            raise InvalidMessage("key: differs from the one in the application properties")
        return Message(
            headers=headers,
            handler=handler,
            data=envelope.data,
            fingerprint=fingerprint(headers.event_type, headers.version, parse_strict(body)["data"]),
            bucket=bucket_of(key, self._buckets),
        )

    async def _payload(self, delivery: Delivery, headers: Headers) -> bytes:
        if headers.claim is None:
            return await self._opened(delivery.body, headers)
        if headers.claim_sha256 is None or headers.claim_size is None:
            raise InvalidMessage("The claim is incomplete: claimSha256 and claimSize belong to it.")
        claim = Claim(headers.claim, headers.claim_sha256, headers.claim_size, headers.claim_encoding)
        if self._encryption is not None:
            self._encryption.check(encrypted=claim.is_encrypted)
        return await self._claims.get(headers.message_id, claim)

    async def _opened(self, body: bytes, headers: Headers) -> bytes:
        if self._encryption is not None:
            return await self._encryption.decrypt(headers, body)
        if headers.sealed is not None:
            raise UnknownKey("The message is sealed, and the settings name no data key.")
        return body
