"""What a new vault holds for the app: made at random when the vault is first used, known to nobody before."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from local_azure.keyvault import rsa
from local_azure.keyvault.vault import Vault

__all__ = ["seed"]

_RANDOM: Final = ("operation-key", "token-key", "data-key", "hmac-key")
_FIXED: Final[Mapping[str, str]] = {"api-keys": "[]"}
"""The list of API keys begins empty."""

_WRAPPING_KEY: Final = "data-key-wrap"
_BYTES: Final = 32
_OPERATIONS: Final = ["wrapKey", "unwrapKey"]


def seed(vault: Vault) -> None:
    """Add what is missing, unless somebody deleted it: 32 random bytes in base64url each, and an RSA key."""
    shelf = vault.secrets.shelf
    known = {item.name for item in (*shelf.present(), *shelf.deleted())}
    for name in (*_RANDOM, *_FIXED):
        if name not in known:
            value = _FIXED.get(name) or secrets.token_urlsafe(_BYTES)
            shelf.add(name, {"value": value, "contentType": None})
    keys = vault.keys.shelf
    if _WRAPPING_KEY not in {item.name for item in (*keys.present(), *keys.deleted())}:
        keys.add(_WRAPPING_KEY, {"pem": rsa.generate(rsa.SIZES[0]), "operations": _OPERATIONS})
