"""Whole messages: sealed on their way into chosen lanes, opened when they are decoded.

What is sealed is bound to its message id and event type, so no message can carry another one's ciphertext.
"""

from collections.abc import Collection
from dataclasses import replace

from shared.messages import Headers, Lane

from .cipher import key_id_of, seal, unseal
from .data_keys import DataKeys
from .errors import NotSealed, Tampered

__all__ = ["MessageSealer"]


class MessageSealer:
    """Seals bodies on some lanes, and opens what is sealed on any.

    Parameters
    ----------
    lanes:
        Where bodies are sealed. What a claim holds is sealed by the store of claims.
    required:
        Refuse what isn't sealed. Without it, plain messages that were in the queues when sealing began are read.
    """

    def __init__(self, data_keys: DataKeys, lanes: Collection[Lane], *, required: bool = False) -> None:
        self._data_keys = data_keys
        self._lanes = frozenset(lanes)
        self._required = required

    async def seal(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """Headers and body as they travel; raises KeysUnavailable."""
        if headers.lane not in self._lanes or headers.claim is not None or headers.sealed is not None:
            return headers, body
        key = self._data_keys.peek_current() or await self._data_keys.current()
        return replace(headers, sealed=key.id), seal(key, body, aad=place_of(headers))

    async def open(self, headers: Headers, body: bytes) -> bytes:
        """The body as it was before it was sealed.

        Raises
        ------
        ProtectionError
            It can't be opened, or it isn't sealed and has to be.
        KeysUnavailable
            Its key isn't known yet, and storage or vault is away: nothing is wrong with the message.
        """
        if headers.sealed is None:
            self.check(sealed=False)
            return body
        key_id = key_id_of(body)
        if key_id != headers.sealed:
            raise Tampered("The message was sealed under another key than its properties say.")
        key = self._data_keys.peek(key_id) or await self._data_keys.get(key_id)
        return unseal(key, body, aad=place_of(headers))

    async def seal_at(self, place: str, body: bytes) -> bytes:
        """A body to be kept at a place of its own, whatever lane it came by; raises KeysUnavailable."""
        key = self._data_keys.peek_current() or await self._data_keys.current()
        return seal(key, body, aad=f"kept\0{place}".encode())

    async def open_at(self, place: str, sealed: bytes) -> bytes:
        """What is kept at a place; raises as `open` does."""
        key_id = key_id_of(sealed)
        key = self._data_keys.peek(key_id) or await self._data_keys.get(key_id)
        return unseal(key, sealed, aad=f"kept\0{place}".encode())

    def check(self, *, sealed: bool) -> None:
        """Raise NotSealed for what isn't sealed and has to be."""
        if self._required and not sealed:
            raise NotSealed("The message isn't sealed, and SLUICE_SEALING_REQUIRED says it must be.")


def place_of(headers: Headers) -> bytes:
    """Where a sealed body belongs."""
    return f"message\0{headers.message_id}\0{headers.event_type}".encode()
