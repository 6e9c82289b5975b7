"""Finds the key that something was encrypted under, whoever's key it is."""

from .cipher import DataKey, decrypt, encrypted_bytes, key_id_of
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

    async def decrypt(self, encrypted: bytes, *, aad: bytes) -> bytes:
        """The plaintext of what was encrypted with this additional authenticated data.

        Raises
        ------
        ProtectionError
            It can't be decrypted, now or later.
        KeysUnavailable
        """
        key_id = key_id_of(encrypted)
        return decrypt(self.peek(key_id) or await self.get(key_id), encrypted, aad=aad)

    async def decrypt_text(self, text: str, *, aad: bytes) -> str:
        """The text that was encrypted into a text; raises as `decrypt` does."""
        return (await self.decrypt(encrypted_bytes(text), aad=aad)).decode("utf-8", "surrogatepass")
