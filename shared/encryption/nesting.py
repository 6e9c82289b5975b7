"""Wraps subjects' keys under data keys, so that a new subject costs no call of the vault."""

from .cipher import decrypt, encrypt
from .data_keys import DataKeys
from .errors import UnknownKey
from .wrapping import Wrapped

__all__ = ["DataKeyWrapper"]

_NAME = "data"
_AAD = b"subject key"


class DataKeyWrapper:
    """Wraps under the current data key. When the vault's key changes, only the data keys are wrapped anew."""

    def __init__(self, data_keys: DataKeys) -> None:
        self._data_keys = data_keys

    async def version(self) -> str:
        """The id of the data key that wraps now."""
        return (await self._data_keys.current()).id

    async def wrap(self, secret: bytes) -> Wrapped:
        """Wrap a subject's key."""
        key = await self._data_keys.current()
        return Wrapped(encrypt(key, secret, aad=_AAD), _NAME, key.id)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """The subject's key; raises UnknownKey where no data key unwraps it."""
        if wrapped.key != _NAME:
            raise UnknownKey(f"The subject's key is wrapped by {wrapped.key!r}, not by a data key.")
        return decrypt(await self._data_keys.get(wrapped.version), wrapped.data, aad=_AAD)
