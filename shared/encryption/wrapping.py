"""Wraps data keys: what is stored of them is worth nothing without the wrapping key, which stays in Key Vault."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .errors import UnknownKey

__all__ = ["KeySecret", "KeySecrets", "KeyWrapper", "SecretWrapper", "Wrapped"]

_SCHEME = "secret:"
_SHORTEST_SECRET = 32
_KEK_PURPOSE = b"sluice key-encryption key v1"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped data key, and the name and version of the key that wraps it."""

    data: bytes
    key: str
    version: str


class KeyWrapper(Protocol):
    """Wraps and unwraps under the versions of one wrapping key."""

    async def version(self) -> str:
        """The version that wraps now."""
        ...

    async def wrap(self, secret: bytes) -> Wrapped:
        """Wrap a data key under the current version."""
        ...

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key; raises UnknownKey where it wasn't wrapped by this key, or was damaged."""
        ...


class KeySecret(Protocol):
    """A secret as the cache hands it out."""

    @property
    def value(self) -> str:
        """The secret itself."""
        ...

    @property
    def version(self) -> str:
        """The name of its version."""
        ...


class KeySecrets(Protocol):
    """Where secrets come from; `shared.secrets.SecretCache` is one."""

    async def get(self, name: str) -> KeySecret:
        """The current version, or with `name/version` that one."""
        ...

    async def both(self, name: str) -> Sequence[KeySecret]:
        """The current version, then the previous one where there is one."""
        ...


class SecretWrapper:
    """Wraps under a key-encryption secret, with AES key wrap (RFC 3394).

    Parameters
    ----------
    name:
        Name of the secret. Its value has at least 32 random characters; it isn't a password: nothing slows down
        guessing it.
    """

    def __init__(self, secrets: KeySecrets, name: str) -> None:
        self._secrets = secrets
        self._name = name

    async def version(self) -> str:
        """The version that wraps now."""
        return (await self._secrets.get(self._name)).version

    async def wrap(self, secret: bytes) -> Wrapped:
        """Wrap a data key under the current version."""
        current = await self._secrets.get(self._name)
        return Wrapped(wrap_key(_key_of(current), secret), f"{_SCHEME}{self._name}", current.version)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key; raises UnknownKey where it wasn't wrapped by this secret, or was damaged."""
        if not wrapped.key.startswith(_SCHEME):
            raise UnknownKey(f"The data key is wrapped by {wrapped.key!r}, which is no secret.")
        name = wrapped.key.removeprefix(_SCHEME)
        known = await self._secrets.both(name)
        found = next((one for one in known if one.version == wrapped.version), None)
        if found is None:
            found = await self._secrets.get(f"{name}/{wrapped.version}")
        return unwrap_key(_key_of(found), wrapped.data)


def _key_of(secret: KeySecret) -> bytes:
    text = secret.value.encode()
    if len(text) < _SHORTEST_SECRET:
        raise ValueError(f"a key-encryption secret has at least {_SHORTEST_SECRET} characters")
    return hmac.digest(text, _KEK_PURPOSE, "sha256")


def wrap_key(wrapping: bytes, secret: bytes) -> bytes:
    """AES key wrap (RFC 3394): 8 bytes longer than the secret."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    return aes_key_wrap(wrapping, secret)


def unwrap_key(wrapping: bytes, wrapped: bytes) -> bytes:
    """The secret that was wrapped; raises UnknownKey for another wrapping key, or where it was damaged."""
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    try:
        return aes_key_unwrap(wrapping, wrapped)
    except (InvalidUnwrap, ValueError):
        raise UnknownKey("The data key can't be unwrapped: another wrapping key, or its row was damaged.") from None
