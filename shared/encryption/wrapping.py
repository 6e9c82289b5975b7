"""Wraps data keys (DEK) under a key-encryption key (KEK): what is stored of them is worth nothing without it.

The KEK is a key in Key Vault, whose private half never leaves it, or a secret there.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shared.secrets import Secret

from .errors import UnknownKey

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.keyvault.keys.aio import KeyClient

__all__ = ["KeySecrets", "KeyWrapper", "SecretWrapper", "VaultWrapper", "Wrapped"]

_OF_SECRETS = "secret:"
_OF_KEYS = "key:"
_GONE = (400, 404)
"""What the vault answers about a wrapped key that isn't one of its key's, and about a key that it doesn't have."""
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


class KeySecrets(Protocol):
    """Where secrets come from; `shared.secrets.SecretCache` is one."""

    async def get(self, name: str) -> Secret:
        """The current version, or with `name/version` that one."""
        ...

    async def both(self, name: str) -> Sequence[Secret]:
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
        return Wrapped(wrap_key(_key_of(current), secret), f"{_OF_SECRETS}{self._name}", current.version)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key; raises UnknownKey where it wasn't wrapped by this secret, or was damaged."""
        if not wrapped.key.startswith(_OF_SECRETS):
            raise UnknownKey(f"The data key is wrapped by {wrapped.key!r}, which is no secret.")
        name = wrapped.key.removeprefix(_OF_SECRETS)
        known = await self._secrets.both(name)
        found = next((one for one in known if one.version == wrapped.version), None)
        if found is None:
            found = await self._secrets.get(f"{name}/{wrapped.version}")
        return unwrap_key(_key_of(found), wrapped.data)


class VaultWrapper:
    """Wraps under the current version of a vault's key (RSA-OAEP-256), and unwraps under any.

    Wrapping takes its public half only. Unwrapping asks the vault, once for each data key and process.

    Parameters
    ----------
    address:
        The vault's URI.
    name:
        The key's name. The app's identity needs `get`, `wrapKey` and `unwrapKey`: Key Vault Crypto User.
    credential:
        Called when the first key is wrapped or unwrapped, on the event loop.
    options:
        Of the client.
    """

    def __init__(
        self, address: str, name: str, credential: "Callable[[], AsyncTokenCredential]", **options: Any
    ) -> None:
        self._address = address
        self._name = name
        self._credential = credential
        self._options = options
        self._client: KeyClient | None = None

    def _open(self) -> "KeyClient":
        if self._client is None:
            from azure.keyvault.keys.aio import KeyClient  # slow to import: with the first key

            self._client = KeyClient(self._address, self._credential(), **self._options)
        return self._client

    async def version(self) -> str:
        """The version that wraps now."""
        key = await self._open().get_key(self._name)
        return str(key.properties.version)

    async def wrap(self, secret: bytes) -> Wrapped:
        """Wrap a data key under the current version."""
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm

        version = await self.version()
        client = self._open().get_cryptography_client(self._name, key_version=version)
        result = await client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, secret)
        return Wrapped(result.encrypted_key, f"{_OF_KEYS}{self._name}", version)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key; raises UnknownKey where this vault's keys don't unwrap it."""
        from azure.core.exceptions import HttpResponseError
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm

        if not wrapped.key.startswith(_OF_KEYS):
            raise UnknownKey(f"The data key is wrapped by {wrapped.key!r}, which is no key of a vault.")
        name = wrapped.key.removeprefix(_OF_KEYS)
        client = self._open().get_cryptography_client(name, key_version=wrapped.version)
        try:
            return (await client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.data)).key
        except HttpResponseError as error:
            if error.status_code in _GONE:
                raise UnknownKey(f"{wrapped.key!r} doesn't unwrap the data key ({error.status_code}).") from None
            raise

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._client is not None:
            await self._client.close()


def _key_of(secret: Secret) -> bytes:
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
