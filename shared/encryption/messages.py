"""Whole messages: encrypted on their way into chosen lanes, decrypted when they are decoded.

What is encrypted is bound to its message id and event type, so no message can carry another one's ciphertext.
"""

from collections.abc import Collection
from dataclasses import replace

from shared.messages import Headers, Lane

from .cipher import decrypt, encrypt, key_id_of
from .data_keys import DataKeys
from .errors import NotEncrypted, Tampered

__all__ = ["MessageEncryption"]


class MessageEncryption:
    """Encrypts bodies on some lanes, and decrypts what is encrypted on any.

    Parameters
    ----------
    lanes:
        Where bodies are encrypted. What a claim holds is encrypted by the store of claims.
    required:
        Refuse what isn't encrypted. Without it, plain messages that were in the queues when encryption began are read.
    """

    def __init__(self, data_keys: DataKeys, lanes: Collection[Lane], *, required: bool = False) -> None:
        self._data_keys = data_keys
        self._lanes = frozenset(lanes)
        self._required = required

    async def encrypt(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """Headers and body as they travel; raises KeysUnavailable."""
        if headers.lane not in self._lanes or headers.claim is not None or headers.sealed is not None:
            return headers, body
        key = self._data_keys.peek_current() or await self._data_keys.current()
        return replace(headers, sealed=key.id), encrypt(key, body, aad=aad_of(headers))

    async def decrypt(self, headers: Headers, body: bytes) -> bytes:
        """The body as it was before it was encrypted.

        Raises
        ------
        ProtectionError
            It can't be decrypted, or it isn't encrypted and has to be.
        KeysUnavailable
            Its key isn't known yet, and storage or vault is away: nothing is wrong with the message.
        """
        if headers.sealed is None:
            self.check(encrypted=False)
            return body
        key_id = key_id_of(body)
        if key_id != headers.sealed:
            raise Tampered("The message was encrypted under another key than its properties say.")
        key = self._data_keys.peek(key_id) or await self._data_keys.get(key_id)
        return decrypt(key, body, aad=aad_of(headers))

    async def encrypt_for(self, owner: str, body: bytes) -> bytes:
        """A body to be stored under the name of its owner, whatever lane it came by; raises KeysUnavailable."""
        key = self._data_keys.peek_current() or await self._data_keys.current()
        return encrypt(key, body, aad=f"kept\0{owner}".encode())

    async def decrypt_for(self, owner: str, encrypted: bytes) -> bytes:
        """What is stored under an owner's name; raises as `decrypt` does."""
        key_id = key_id_of(encrypted)
        key = self._data_keys.peek(key_id) or await self._data_keys.get(key_id)
        return decrypt(key, encrypted, aad=f"kept\0{owner}".encode())

    def check(self, *, encrypted: bool) -> None:
        """Raise NotEncrypted for what isn't encrypted and has to be."""
        if self._required and not encrypted:
            raise NotEncrypted("The message isn't encrypted, and SLUICE_SEALING_REQUIRED says it must be.")


def aad_of(headers: Headers) -> bytes:
    """The additional authenticated data of a message's body."""
    return f"message\0{headers.message_id}\0{headers.event_type}".encode()
