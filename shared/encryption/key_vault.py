"""Wraps data keys under a key in Key Vault (RSA-OAEP-256), whose private half never leaves it.

Wrapping takes its public half only. Unwrapping asks the vault, once for each data key and process.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import UnknownKey
from .wrapping import Wrapped

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.keyvault.keys.aio import KeyClient

__all__ = ["VaultWrapper"]

_SCHEME = "key:"
_GONE = (400, 404)
"""What the vault answers about a wrapped key that isn't one of its key's, and about a key that it doesn't have."""


class VaultWrapper:
    """Wraps under the current version of a vault's key, and unwraps under any.

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
        return Wrapped(result.encrypted_key, f"{_SCHEME}{self._name}", version)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The data key; raises UnknownKey where this vault's keys don't unwrap it."""
        from azure.core.exceptions import HttpResponseError
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm

        if not wrapped.key.startswith(_SCHEME):
            raise UnknownKey(f"The data key is wrapped by {wrapped.key!r}, which is no key of a vault.")
        name = wrapped.key.removeprefix(_SCHEME)
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
