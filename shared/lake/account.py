"""The lake's storage account, as the Delta library is told of it."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from shared.environment import Connection

__all__ = ["LakeAccount"]

_BOUNDS = {"timeout": "30s", "connect_timeout": "5s", "max_retries": "3"}
"""Of one request; by itself the library tries ten times before it says that a store is away."""
_EMULATED = {
    "AccountName": "devstoreaccount1",
    # Azurite's own, published with it; the same everywhere.
    "AccountKey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


@dataclass(frozen=True, slots=True)
class LakeAccount:
    """An account with the container of the Delta tables.

    Attributes
    ----------
    container:
        Its name.
    storage_options:
        For every call of `deltalake` on a table in it: explicit, since what the library reads from the environment holds
        for the whole process.
    """

    container: str
    storage_options: dict[str, str]

    @classmethod
    def of(cls, connection: Connection, container: str) -> Self:
        """As the settings name it: with a key by connection string, as the app's identity by address.

        Raises
        ------
        ValueError
            The connection string names no account or no key.
        """
        if connection.connection_string is not None:
            return cls(container, _by_key(connection.connection_string.get_secret_value()) | _BOUNDS)
        address = (connection.address or "").rstrip("/")
        options = {"account_name": (urlsplit(address).hostname or "").partition(".")[0], "endpoint": address}
        if connection.client_id:
            options["client_id"] = connection.client_id
        return cls(container, options | _BOUNDS)

    def uri(self, path: str) -> str:
        """The address of a table, such as `silver/order_accepted`."""
        return f"az://{self.container}/{path}"


def _by_key(text: str) -> dict[str, str]:
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        parts = _EMULATED
    name, key = parts.get("AccountName"), parts.get("AccountKey")
    if not name or not key:
        raise ValueError("the lake's connection string needs AccountName and AccountKey")
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    protocol = parts.get("DefaultEndpointsProtocol", "https")
    endpoint = parts.get("BlobEndpoint", f"{protocol}://{name}.blob.{suffix}").rstrip("/")
    options = {"account_name": name, "access_key": key, "endpoint": endpoint}
    return {**options, "allow_http": "true"} if endpoint.startswith("http://") else options
