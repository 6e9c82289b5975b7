"""What a new vault holds: made at random when the vault is first used, known to nobody before."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from local_azure.keyvault import rsa
from local_azure.keyvault.vault import Vault

__all__ = ["Seeds", "seed"]

_BYTES: Final = 32
_OPERATIONS: Final = ["wrapKey", "unwrapKey"]


@dataclass(frozen=True, slots=True)
class Seeds:
    """Names of secrets with their values, None for 32 random bytes in base64url; names of RSA keys that wrap others."""

    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    keys: Sequence[str] = ()


def seed(vault: Vault, seeds: Seeds) -> None:
    """Add what is missing, unless somebody deleted it."""
    collection = vault.secrets.collection
    known = {item.name for item in (*collection.present(), *collection.deleted())}
    for name, value in seeds.secrets.items():
        if name not in known:
            content = {"value": secrets.token_urlsafe(_BYTES) if value is None else value, "contentType": None}
            collection.add(name, content)
    keys = vault.keys.collection
    known = {item.name for item in (*keys.present(), *keys.deleted())}
    for name in seeds.keys:
        if name not in known:
            keys.add(name, {"pem": rsa.generate(rsa.SIZES[0]), "operations": _OPERATIONS})
