"""Backups: all versions of one item, encrypted for the vault that made them."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from local_azure.keyvault.errors import bad_parameter
from local_azure.keyvault.items import Item, Kind, item_from_text, item_to_text
from local_azure.keyvault.rsa import from_base64url, to_base64url

__all__ = ["KEY_BYTES", "LONGEST_BACKUP", "Backups"]

KEY_BYTES: Final = 32
LONGEST_BACKUP: Final = 250_000
"""Characters; a request that restores more would not be taken."""

_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12


class Backups:
    """Writes and reads backups with AES-GCM; additional authenticated data is the kind of item."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def write(self, kind: Kind, item: Item) -> str:
        """The item as a text that tells nothing of it.

        Raises
        ------
        VaultError
            400, if it would be too long to be restored.
        """
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._cipher.encrypt(nonce, item_to_text(item).encode(), str(kind).encode())
        text = to_base64url(_FORMAT + nonce + ciphertext)
        if len(text) > LONGEST_BACKUP:
            raise bad_parameter(f"The {kind.noun.lower()} has too many versions to be backed up.")
        return text

    def read(self, kind: Kind, text: object) -> Item:
        """The item of a backup.

        Raises
        ------
        VaultError
            400, if it was not made by this vault of an item of this kind, or was changed.
        """
        data = from_base64url(text)
        nonce, ciphertext = data[1 : 1 + _NONCE_BYTES], data[1 + _NONCE_BYTES :]
        try:
            if data[:1] != _FORMAT:
                raise ValueError
            return item_from_text(self._cipher.decrypt(nonce, ciphertext, str(kind).encode()).decode())
        except (InvalidTag, ValueError):
            raise bad_parameter(f"The value is no backup of a {kind.noun.lower()} that this vault made.") from None
