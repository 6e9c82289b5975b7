"""Encrypts and decrypts bytes: AES-256-GCM under a named key, in a versioned format that says which key.

    "SLP" | version 1 | length of the key id | key id | nonce (12) | ciphertext | tag (16)

Everything before the nonce is the header. It is authenticated together with the caller's additional authenticated
data (AAD), which names the owner of the bytes: moved to another message, field or subject they can't be decrypted.

Nonces are 96 random bits. NIST SP 800-38D (8.3) allows 2^32 of them under one key before a repetition is likelier
than 2^-32; `DataKeys` makes a new key long before that.
"""

import base64
import binascii
import hmac
import os
import re
from typing import TYPE_CHECKING

from .errors import Tampered, TooLong, Truncated, UnknownKey, WrongVersion

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "MAX_MESSAGES",
    "TEXT_PREFIX",
    "DataKey",
    "decrypt",
    "decrypt_text",
    "encrypt",
    "encrypt_text",
    "encrypted_bytes",
    "is_encrypted_text",
    "key_id_of",
]

MAX_MESSAGES = 2**32
"""Messages that may be encrypted under one key with random nonces (NIST SP 800-38D, 8.3)."""
MAX_PLAINTEXT = 104_857_600
"""Bytes that are encrypted in one piece: the largest payload that the app takes; GCM itself would take 64 GiB."""
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

TEXT_PREFIX = "slp1."
"""What the text form begins with; base64url without padding follows (RFC 4648, 5)."""

_MAGIC = b"SLP\x01"
_PREAMBLE = len(_MAGIC) + 1
KEY_ID = re.compile(r"[A-Za-z0-9._~-]{1,96}")


class DataKey:
    """A data-encryption key (DEK) and its id.

    Parameters
    ----------
    key_id:
        1 to 96 letters, digits and `._~-`; travels in clear in the header of everything it encrypts.
    secret:
        32 bytes.

    Attributes
    ----------
    aead:
        The cipher; only `encrypt` and `decrypt` use it, so that no nonce comes twice.
    header:
        What everything begins with that is encrypted under this key.
    messages:
        How many this process has encrypted under it.
    """

    __slots__ = ("_secret", "aead", "header", "id", "messages")

    def __init__(self, key_id: str, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # loaded with the first key

        if not KEY_ID.fullmatch(key_id):
            raise ValueError("a key id has 1 to 96 letters, digits and ._~-")
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes")
        self.id = key_id
        self.messages = 0
        self.header = _MAGIC + bytes([len(key_id)]) + key_id.encode()
        self._secret = secret
        self.aead = AESGCM(secret)

    def derive(self, salt: bytes, purpose: bytes) -> "AESGCM":
        """The cipher of a key of its own (HKDF-SHA-256, RFC 5869), for one stream with nonces that count."""
        pseudo_random = hmac.digest(salt, self._secret, "sha256")
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(pseudo_random, purpose + b"\x01", "sha256"))

    def __repr__(self) -> str:
        return f"DataKey({self.id!r})"

    def __reduce__(self) -> str:
        raise TypeError("a data key isn't pickled")


def encrypt(key: DataKey, plaintext: bytes, *, aad: bytes) -> bytes:
    """Encrypt bytes, bound to the additional authenticated data; every call uses a fresh random nonce.

    Raises
    ------
    TooLong
        More than 100 MB.
    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise TooLong(f"{len(plaintext)} bytes can't be encrypted in one piece, at most {MAX_PLAINTEXT} can.")
    key.messages += 1
    header = key.header
    nonce = os.urandom(NONCE_BYTES)
    return b"".join((header, nonce, key.aead.encrypt(nonce, plaintext, header + aad)))


def key_id_of(encrypted: bytes) -> str:
    """The id of the key that something was encrypted under, which isn't authentic before it is decrypted.

    Raises
    ------
    WrongVersion, Truncated, Tampered
    """
    if encrypted[: len(_MAGIC)] != _MAGIC:
        if len(encrypted) < len(_MAGIC) and _MAGIC.startswith(encrypted):
            raise Truncated("The encrypted data ends within its header.")
        raise WrongVersion("The data isn't encrypted in a format that is known here.")
    end = _PREAMBLE + (encrypted[_PREAMBLE - 1] if len(encrypted) >= _PREAMBLE else 0)
    if len(encrypted) < end + NONCE_BYTES + TAG_BYTES or end == _PREAMBLE:
        raise Truncated("The encrypted data is shorter than the least that can be.")
    key_id = encrypted[_PREAMBLE:end].decode("latin-1")
    if not KEY_ID.fullmatch(key_id):
        raise Tampered("The key id of the encrypted data is damaged.")
    return key_id


def decrypt(key: DataKey, encrypted: bytes, *, aad: bytes) -> bytes:
    """The plaintext, if it was encrypted under this key with the same additional data, and nothing of it was changed.

    Raises
    ------
    UnknownKey
        It was encrypted under another key; `key_id_of` says which.
    WrongVersion, Truncated, Tampered, TooLong
    """
    header = key.header
    if not encrypted.startswith(header):
        raise UnknownKey(f"The data was encrypted under the key {key_id_of(encrypted)!r}, not under {key.id!r}.")
    start = len(header) + NONCE_BYTES
    size = len(encrypted) - start - TAG_BYTES
    if size < 0:
        raise Truncated("The encrypted data is shorter than the least that can be.")
    if size > MAX_PLAINTEXT:
        raise TooLong(f"{size} bytes can't be decrypted in one piece, at most {MAX_PLAINTEXT} can.")
    try:
        return key.aead.decrypt(encrypted[len(header) : start], memoryview(encrypted)[start:], header + aad)
    except invalid_tag():
        raise Tampered(f"Not what the key {key.id!r} encrypted, or other additional data.") from None


def invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag  # loaded by then: there is a key

    return InvalidTag


def encrypt_text(key: DataKey, text: str, *, aad: bytes) -> str:
    """Encrypt a text into a text, for a value among others: `slp1.` and base64url."""
    encrypted = encrypt(key, text.encode("utf-8", "surrogatepass"), aad=aad)
    return TEXT_PREFIX + base64.urlsafe_b64encode(encrypted).rstrip(b"=").decode()


def is_encrypted_text(text: str) -> bool:
    """It looks like the text form; only decrypting it tells whether it is."""
    return text.startswith(TEXT_PREFIX)


def encrypted_bytes(text: str) -> bytes:
    """The encrypted bytes of a text form, of which there is exactly one for each.

    Raises
    ------
    WrongVersion, Tampered
    """
    if not is_encrypted_text(text):
        raise WrongVersion("The text isn't encrypted in a format that is known here.")
    encoded = text[len(TEXT_PREFIX) :]
    try:
        encrypted = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Tampered("The encrypted text isn't base64url.") from None
    if base64.urlsafe_b64encode(encrypted).rstrip(b"=").decode() != encoded:  # another spelling of the same bytes
        raise Tampered("The encrypted text isn't base64url as it was written.")
    return encrypted


def decrypt_text(key: DataKey, text: str, *, aad: bytes) -> str:
    """The text that was encrypted into a text; raises as `decrypt` does."""
    return decrypt(key, encrypted_bytes(text), aad=aad).decode("utf-8", "surrogatepass")
