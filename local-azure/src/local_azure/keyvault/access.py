"""Who may do what: the data-plane roles of Azure RBAC, given to object ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from local_azure.keyvault.errors import VaultError

__all__ = ["ROLES", "Access"]

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "Key Vault Administrator": ("secrets/*", "keys/*"),
    "Key Vault Reader": ("secrets/readMetadata", "keys/read"),
    "Key Vault Secrets Officer": ("secrets/*",),
    "Key Vault Secrets User": ("secrets/readMetadata", "secrets/getSecret"),
    "Key Vault Crypto Officer": ("keys/*",),
    "Key Vault Crypto User": (
        *("keys/read", "keys/update", "keys/backup", "keys/encrypt", "keys/decrypt"),
        *("keys/wrap", "keys/unwrap", "keys/sign", "keys/verify"),
    ),
    "Key Vault Crypto Service Encryption User": ("keys/read", "keys/wrap", "keys/unwrap"),
}
"""What each built-in role allows, of what this vault has (learn.microsoft.com: "Azure built-in roles for Security")."""


class Access:
    """Roles by object id."""

    def __init__(self) -> None:
        self._roles: dict[str, frozenset[str]] = {}

    def grant(self, object_id: str, roles: Iterable[str]) -> None:
        """Give an identity these roles and no others.

        Raises
        ------
        ValueError
            If one of them is unknown.
        """
        given = frozenset(roles)
        if unknown := sorted(given - set(ROLES)):
            raise ValueError(f"{unknown[0]} is not a role: use {', '.join(ROLES)}.")
        self._roles[object_id.lower()] = given

    def check(self, object_id: str, application: str, action: str, resource: str) -> None:
        """Let an action through, or refuse it.

        Raises
        ------
        VaultError
            403, if no role of the identity allows it.
        """
        wildcard = f"{action.partition('/')[0]}/*"
        for role in self._roles.get(object_id.lower(), frozenset()):
            if action in ROLES[role] or wildcard in ROLES[role]:
                return
        raise VaultError(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\n"
            f"Caller: appid={application};oid={object_id}\n"
            f"Action: 'Microsoft.KeyVault/vaults/{action}/action'\n"
            f"Resource: '{resource}'",
            inner="ForbiddenByRbac",
        )
