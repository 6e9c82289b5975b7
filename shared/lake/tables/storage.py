"""How the Delta library reaches a storage account: by a connection string on a laptop, by identity in Azure."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from shared.azure_clients import Credentials
from shared.environment import Connection

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

__all__ = ["StorageOptions", "storage_options"]

StorageOptions = Callable[[], Awaitable[dict[str, str]]]
"""Gives the options of one handle. With an identity they hold a token: a handle serves for minutes, never for hours."""

_SCOPE = "https://storage.azure.com/.default"
_PATIENCE = {"timeout": "30s", "connect_timeout": "5s", "max_retries": "3", "retry_timeout": "20s"}
"""Bounds of one request; a store that is down is given up within 20 s (the library: 180 s)."""


def storage_options(connection: Connection, credentials: Credentials) -> StorageOptions:
    """The options for a connection's first account.

    The address of the account is always given, which every cloud and every emulator then obeys.

    Raises
    ------
    ValueError
        The connection string names no account, key or address.
    """
    if connection.connection_string is not None:
        return _by_key(connection.accounts[0])
    return _by_identity(connection.accounts[0], lambda: credentials.get(connection))


def _by_key(connection_string: str) -> StorageOptions:
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    name, key = parts.get("AccountName", ""), parts.get("AccountKey", "")
    scheme, suffix = parts.get("DefaultEndpointsProtocol", "https"), parts.get("EndpointSuffix", "core.windows.net")
    endpoint = parts.get("BlobEndpoint") or f"{scheme}://{name}.blob.{suffix}"
    if not name or not key:
        raise ValueError("the lake's connection string needs AccountName and AccountKey")
    options = {"account_name": name, "access_key": key, **_reached_at(endpoint)}

    async def give() -> dict[str, str]:
        return dict(options)

    return give


def _by_identity(address: str, credential: Callable[[], "AsyncTokenCredential"]) -> StorageOptions:
    async def give() -> dict[str, str]:
        token = await credential().get_token(_SCOPE)
        name = address.partition("://")[2].partition(".")[0]
        return {"account_name": name, "bearer_token": token.token, **_reached_at(address)}

    return give


def _reached_at(endpoint: str) -> dict[str, str]:
    plain = {"allow_http": "true"} if endpoint.startswith("http://") else {}
    return {"endpoint": endpoint.rstrip("/"), **plain, **_PATIENCE}
