"""The keys that sign tokens: the newest signs, older ones stay published until what they signed has expired."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

__all__ = ["KeyRing", "SigningKey", "make_signing_key"]

_BITS = 2048
_EXPONENT = 65_537


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key pair; `retires_at` (seconds since the epoch) is set when a newer one has taken over."""

    kid: str
    private: RSAPrivateKey = field(repr=False)
    retires_at: float | None = None

    def as_jwk(self) -> dict[str, str]:
        """The public half (RFC 7517), without `alg`, as Entra publishes it."""
        numbers = self.private.public_key().public_numbers()
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "n": _base64url(numbers.n), "e": _base64url(numbers.e)}


class KeyRing:
    """The keys of one issuer, newest first.

    `keep` stores the ring's text before anything signed with a new key can leave.
    """

    def __init__(self, keys: list[SigningKey], *, make: Callable[[], SigningKey], keep: Callable[[str], None]) -> None:
        self._keys = keys
        self._make = make
        self._keep = keep
        if not keys:
            self._replace([make()])

    @classmethod
    def from_text(cls, text: str, *, make: Callable[[], SigningKey], keep: Callable[[str], None]) -> KeyRing:
        """The ring that `keep` was given before.

        Raises
        ------
        ValueError
            If it is something else.
        """
        try:
            content = json.loads(text)
            if not isinstance(content, list):
                raise TypeError
            keys = [_read(each) for each in content]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a list of signing keys: {type(error).__name__}") from None
        return cls(keys, make=make, keep=keep)

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        return self._keys[0]

    def published(self, now: float) -> list[dict[str, str]]:
        """The public keys with which a token may be checked at `now` (seconds since the epoch)."""
        return [key.as_jwk() for key in self._keys if key.retires_at is None or key.retires_at > now]

    def rotate(self, now: float, overlap: float) -> SigningKey:
        """Sign with a new key from now on, and publish the old ones for at most `overlap` seconds more."""
        until = now + overlap
        retiring = [replace(key, retires_at=min(until, key.retires_at or until)) for key in self._keys]
        self._replace([self._make(), *(key for key in retiring if (key.retires_at or 0) > now)])
        return self.current

    def _replace(self, keys: list[SigningKey]) -> None:
        self._keep(json.dumps([_write(key) for key in keys], indent=1))
        self._keys = keys


def make_signing_key() -> SigningKey:
    """A new key with a name of its own."""
    return SigningKey(uuid.uuid4().hex, generate_private_key(_EXPONENT, _BITS))


def _write(key: SigningKey) -> dict[str, Any]:
    pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {"kid": key.kid, "pem": pem.decode("ascii"), "retiresAt": key.retires_at}


def _read(content: dict[str, Any]) -> SigningKey:
    private = load_pem_private_key(content["pem"].encode("ascii"), None)
    if not isinstance(private, RSAPrivateKey):
        raise ValueError("a signing key is not an RSA key")
    retires_at = content["retiresAt"]
    return SigningKey(str(content["kid"]), private, None if retires_at is None else float(retires_at))


def _base64url(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
