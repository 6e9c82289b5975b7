"""Encrypts streams: chunk by chunk, each bound to its number among the others and to whether it is the last one.

    "SLS" | version 1 | length of the key id | key id | salt (16) | chunk | … | last chunk

Every stream has a key of its own, derived from the data key and the salt (HKDF-SHA-256), so its nonces may count: seven
zeros, the chunk's number, and 1 for the last chunk. Chunks that are swapped, left out, repeated or cut off don't
decrypt, nor do those of another stream. The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
No I/O.
"""

import os
from collections.abc import Iterator

from .cipher import KEY_ID, NONCE_BYTES, TAG_BYTES, DataKey, invalid_tag
from .errors import Tampered, Truncated, UnknownKey, WrongVersion

__all__ = ["StreamDecryptor", "StreamEncryptor", "stream_key_id", "stream_size"]

CHUNK = 256 * 1024
"""Plain bytes of a chunk."""
STREAM_OVERHEAD = 128
"""Most bytes that come before the first chunk."""

_MAGIC = b"SLS\x01"
_PREAMBLE = len(_MAGIC) + 1
_SALT = 16
_PURPOSE = b"sluice stream v1"
_ENCRYPTED_CHUNK = CHUNK + TAG_BYTES


def stream_size(plain: int) -> int:
    """Most bytes that a stream of so many plain bytes takes."""
    return STREAM_OVERHEAD + plain + TAG_BYTES * (plain // CHUNK + 1)


def stream_key_id(beginning: bytes) -> str:
    """The id of the key that a stream was encrypted under, from its first bytes.

    Raises
    ------
    WrongVersion, Truncated, Tampered
    """
    if beginning[: len(_MAGIC)] != _MAGIC:
        raise WrongVersion("The stream isn't encrypted in a format that is known here.")
    end = _PREAMBLE + beginning[_PREAMBLE - 1] if len(beginning) >= _PREAMBLE else 0
    if not end or len(beginning) < end:
        raise Truncated("The encrypted stream ends within its header.")
    key_id = beginning[_PREAMBLE:end].decode("latin-1")
    if not KEY_ID.fullmatch(key_id):
        raise Tampered("The key id of the encrypted stream is damaged.")
    return key_id


def _head(key: DataKey) -> bytes:
    return _MAGIC + bytes([len(key.id)]) + key.id.encode()


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes(NONCE_BYTES - 5) + number.to_bytes(4, "big") + bytes([last])


class StreamEncryptor:
    """Turns plain bytes, piece by piece, into an encrypted stream, bound to its additional authenticated data."""

    def __init__(self, key: DataKey, *, aad: bytes) -> None:
        salt = os.urandom(_SALT)
        self._begin = _head(key) + salt
        self._aad = self._begin + aad
        self._aead = key.derive(salt, _PURPOSE)
        self._number = 0
        self._pending = bytearray()

    def feed(self, piece: "bytes | memoryview") -> bytes:
        """What is encrypted so far; the last chunk is kept back, since it must say that it is the last."""
        self._pending += piece
        encrypted = [self._beginning()]
        while len(self._pending) > CHUNK:
            encrypted.append(self._chunk(bytes(memoryview(self._pending)[:CHUNK]), last=False))
            del self._pending[:CHUNK]
        return b"".join(encrypted)

    def finish(self) -> bytes:
        """The rest."""
        return self._beginning() + self._chunk(bytes(self._pending), last=True)

    def _beginning(self) -> bytes:
        begin, self._begin = self._begin, b""
        return begin

    def _chunk(self, plain: bytes, *, last: bool) -> bytes:
        encrypted = self._aead.encrypt(_nonce(self._number, last=last), plain, self._aad)
        self._number += 1
        return encrypted


class StreamDecryptor:
    """Turns an encrypted stream, block by block, back into plain bytes, each authentic and in order.

    That nothing is missing at the end is certain when `finish` returns.
    """

    def __init__(self, key: DataKey, *, aad: bytes) -> None:
        self._key = key
        self._owner_aad = aad
        self._head = _head(key)
        self._aead = key.aead
        self._aad = b""
        self._number = 0
        self._pending = bytearray()

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The plain bytes of a block; to be used up before the next one is fed.

        Raises
        ------
        UnknownKey, WrongVersion, Truncated, Tampered
        """
        # Chunks are decrypted where they lie: a copy of every block would cost a large payload its bound of memory.
        view = memoryview(block)
        if not self._aad:
            view = self._begun(view)
            if not self._aad:
                return
        if self._pending:
            missing = _ENCRYPTED_CHUNK - len(self._pending)
            self._pending += view[:missing]
            view = view[missing:]
            if not view:  # whether this chunk is the last one isn't known yet
                return
            yield self._chunk(self._pending, last=False)
            self._pending.clear()
        while len(view) > _ENCRYPTED_CHUNK:
            yield self._chunk(view[:_ENCRYPTED_CHUNK], last=False)
            view = view[_ENCRYPTED_CHUNK:]
        self._pending += view

    def finish(self) -> bytes:
        """The last plain bytes; raises Truncated or Tampered unless the stream is whole."""
        if not self._aad or len(self._pending) < TAG_BYTES:
            raise Truncated("The encrypted stream ends before its last chunk.")
        return self._chunk(self._pending, last=True)

    def _begun(self, view: memoryview) -> memoryview:
        """Take the header in; what follows it in `view` is returned."""
        missing = len(self._head) + _SALT - len(self._pending)
        self._pending += view[:missing]
        view = view[missing:]
        if len(self._pending) < len(self._head) + _SALT:
            return view
        if not self._pending.startswith(self._head):
            found = stream_key_id(bytes(self._pending + view[:STREAM_OVERHEAD]))
            raise UnknownKey(f"The stream was encrypted under the key {found!r}, not under {self._key.id!r}.")
        begin = bytes(self._pending)
        self._pending.clear()
        self._aad = begin + self._owner_aad
        self._aead = self._key.derive(begin[-_SALT:], _PURPOSE)
        return view

    def _chunk(self, encrypted: "bytearray | memoryview", *, last: bool) -> bytes:
        try:
            plain = self._aead.decrypt(_nonce(self._number, last=last), encrypted, self._aad)
        except invalid_tag():
            raise Tampered(
                f"Chunk {self._number} isn't what was encrypted, isn't in its order, or the end is missing."
            ) from None
        self._number += 1
        return plain
