"""Finds the key that something was sealed under, whoever's key it is."""

from .cipher import DataKey, key_id_of, sealed_bytes, unseal
from .data_keys import DataKeys
from .subject_keys import SubjectKeys

__all__ = ["Keyring"]


class Keyring:
    """Data keys and subjects' keys by their ids; a subject's has a tilde in it."""

    def __init__(self, data_keys: DataKeys, subject_keys: SubjectKeys) -> None:
        self._data_keys = data_keys
        self._subject_keys = subject_keys

    async def get(self, key_id: str) -> DataKey:
        """The key with an id; raises UnknownKey, Erased or KeysUnavailable."""
        return await (self._subject_keys.get(key_id) if "~" in key_id else self._data_keys.get(key_id))

    def peek(self, key_id: str) -> DataKey | None:
        """The key with an id, where it is in memory and fresh."""
        return (self._subject_keys if "~" in key_id else self._data_keys).peek(key_id)

    async def open(self, sealed: bytes, *, aad: bytes) -> bytes:
        """What was sealed for the place that `aad` names.

        Raises
        ------
        ProtectionError
            It can't be opened, now or later.
        KeysUnavailable
        """
        key_id = key_id_of(sealed)
        return unseal(self.peek(key_id) or await self.get(key_id), sealed, aad=aad)

    async def open_text(self, text: str, *, aad: bytes) -> str:
        """The text that was sealed into a text; raises as `open` does."""
        return (await self.open(sealed_bytes(text), aad=aad)).decode("utf-8", "surrogatepass")
