"""What every client is made with: one credential per identity and process, and whether there is a proxy."""

import urllib.request
from typing import TYPE_CHECKING

from shared.environment import Cloud, Identity

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

__all__ = ["Credentials", "proxied"]


class Credentials:
    """Hands out the credential of a connection.

    The connection says which: a managed identity in Azure, else the developer's own Azure CLI login. Nothing
    is probed, so a wrong set-up fails at once and says so.

    Parameters
    ----------
    cloud:
        Whose Entra ID gives the tokens. The scopes of Service Bus, Event Hubs and storage are the same in every
        cloud; Key Vault names its own in its challenge.
    """

    def __init__(self, cloud: Cloud = Cloud.PUBLIC) -> None:
        self._authority = cloud.authority
        self._made: dict[tuple[str | None, str | None], AsyncTokenCredential] = {}

    def get(self, connection: Identity) -> "AsyncTokenCredential":
        """The one credential of the connection's identity."""
        identity = (connection.credential, connection.client_id)
        if identity not in self._made:
            self._made[identity] = _make(connection, self._authority)
        return self._made[identity]

    async def close(self) -> None:
        """Close every credential's HTTP session."""
        while self._made:
            _, credential = self._made.popitem()
            await credential.close()


def _make(connection: Identity, authority: str) -> "AsyncTokenCredential":
    from azure.identity.aio import (
        AzureCliCredential,
        ManagedIdentityCredential,
    )  # slow to import: on first use

    if connection.credential == "managedidentity":
        return ManagedIdentityCredential(client_id=connection.client_id, authority=authority)
    return AzureCliCredential()


def proxied() -> bool:
    """Whether the environment names a proxy, for the `use_env_settings` of the SDKs' clients.

    Asked once for a client: left to themselves, aiohttp's sessions ask for the proxies and read ~/.netrc before every
    request, each in a thread of its own, which costs as much as sending it (docs/decisions/overlapping-work.md).
    """
    return bool(urllib.request.getproxies())
