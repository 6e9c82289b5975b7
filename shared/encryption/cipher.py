"""Seals and opens bytes: AES-256-GCM under a named key, in a versioned format that says which key.

    "SLP" | version 1 | length of the key id | key id | nonce (12) | ciphertext | tag (16)

Everything before the nonce is the header. It is authenticated together with the caller's additional data, which says
where the sealed bytes belong: moved to another message, field or subject they can't be opened.

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
    "is_sealed_text",
    "key_id_of",
    "seal",
    "seal_text",
    "sealed_bytes",
    "unseal",
    "unseal_text",
]

MAX_MESSAGES = 2**32
"""Messages that may be sealed under one key with random nonces (NIST SP 800-38D, 8.3)."""
MAX_PLAINTEXT = 104_857_600
"""Bytes that are sealed in one piece: the largest payload that the app takes; GCM itself would take 64 GiB."""
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

TEXT_PREFIX = "slp1."
"""What the text form begins with; base64url without padding follows (RFC 4648, 5)."""

_MAGIC = b"SLP\x01"
_PREAMBLE = len(_MAGIC) + 1
KEY_ID = re.compile(r"[A-Za-z0-9._~-]{1,96}")


class DataKey:
    """A key that data is sealed under, and its name.

    Parameters
    ----------
    key_id:
        1 to 96 letters, digits and `._~-`; travels in clear in the header of everything it seals.
    secret:
        32 bytes.

    Attributes
    ----------
    aead:
        The cipher; only `seal` and `unseal` use it, so that no nonce comes twice.
    header:
        What everything begins with that is sealed under this key.
    messages:
        How many this process has sealed under it.
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


def seal(key: DataKey, plaintext: bytes, *, aad: bytes) -> bytes:
    """Seal bytes for the place that `aad` names; every call uses a fresh random nonce.

    Raises
    ------
    TooLong
        More than 100 MB.
    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise TooLong(f"{len(plaintext)} bytes can't be sealed in one piece, at most {MAX_PLAINTEXT} can.")
    key.messages += 1
    header = key.header
    nonce = os.urandom(NONCE_BYTES)
    return b"".join((header, nonce, key.aead.encrypt(nonce, plaintext, header + aad)))


def key_id_of(sealed: bytes) -> str:
    """The id of the key that something was sealed under, which isn't authentic before it is opened.

    Raises
    ------
    WrongVersion, Truncated, Tampered
    """
    if sealed[: len(_MAGIC)] != _MAGIC:
        if len(sealed) < len(_MAGIC) and _MAGIC.startswith(sealed):
            raise Truncated("The sealed data ends within its header.")
        raise WrongVersion("The data isn't sealed in a format that is known here.")
    end = _PREAMBLE + (sealed[_PREAMBLE - 1] if len(sealed) >= _PREAMBLE else 0)
    if len(sealed) < end + NONCE_BYTES + TAG_BYTES or end == _PREAMBLE:
        raise Truncated("The sealed data is shorter than the least that can be.")
    key_id = sealed[_PREAMBLE:end].decode("latin-1")
    if not KEY_ID.fullmatch(key_id):
        raise Tampered("The key id of the sealed data is damaged.")
    return key_id


def unseal(key: DataKey, sealed: bytes, *, aad: bytes) -> bytes:
    """What was sealed, if it was sealed under this key, for this place, and nothing of it was changed.

    Raises
    ------
    UnknownKey
        It was sealed under another key; `key_id_of` says which.
    WrongVersion, Truncated, Tampered, TooLong
    """
    header = key.header
    if not sealed.startswith(header):
        raise UnknownKey(f"The data was sealed under the key {key_id_of(sealed)!r}, not under {key.id!r}.")
    start = len(header) + NONCE_BYTES
    size = len(sealed) - start - TAG_BYTES
    if size < 0:
        raise Truncated("The sealed data is shorter than the least that can be.")
    if size > MAX_PLAINTEXT:
        raise TooLong(f"{size} bytes can't be opened in one piece, at most {MAX_PLAINTEXT} can.")
    try:
        return key.aead.decrypt(sealed[len(header) : start], memoryview(sealed)[start:], header + aad)
    except invalid_tag():
        raise Tampered(f"Not what was sealed under the key {key.id!r}, or sealed for another place.") from None


def invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag  # loaded by then: there is a key

    return InvalidTag


def seal_text(key: DataKey, text: str, *, aad: bytes) -> str:
    """Seal a text into a text, for a value among others: `slp1.` and base64url."""
    sealed = seal(key, text.encode("utf-8", "surrogatepass"), aad=aad)
    return TEXT_PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def is_sealed_text(text: str) -> bool:
    """It looks like the text form; only opening it tells whether it is."""
    return text.startswith(TEXT_PREFIX)


def sealed_bytes(text: str) -> bytes:
    """The sealed bytes of a text form, of which there is exactly one for each.

    Raises
    ------
    WrongVersion, Tampered
    """
    if not is_sealed_text(text):
        raise WrongVersion("The text isn't sealed in a format that is known here.")
    encoded = text[len(TEXT_PREFIX) :]
    try:
        sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Tampered("The sealed text isn't base64url.") from None
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != encoded:  # another spelling of the same bytes
        raise Tampered("The sealed text isn't base64url as it was written.")
    return sealed


def unseal_text(key: DataKey, text: str, *, aad: bytes) -> str:
    """The text that was sealed into a text; raises as `unseal` does."""
    return unseal(key, sealed_bytes(text), aad=aad).decode("utf-8", "surrogatepass")
