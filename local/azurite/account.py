"""The one account that Azurite has, published by its makers for development and the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AzuriteEndpoints", "connection_string"]

ACCOUNT = "devstoreaccount1"
# Not a secret: the well-known development key, https://learn.microsoft.com/azure/storage/common/storage-use-azurite
WELL_KNOWN_DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class AzuriteEndpoints:
    """The three ports, all on the loopback address, that one Azurite listens on."""

    blob: int
    queue: int
    table: int

    @property
    def connection_string(self) -> str:
        """For every Azure Storage SDK, with explicit endpoints."""
        return connection_string(self)

    def __str__(self) -> str:
        return self.connection_string


def connection_string(endpoints: AzuriteEndpoints) -> str:
    """The connection string of the development account at `endpoints`."""
    services = {"Blob": endpoints.blob, "Queue": endpoints.queue, "Table": endpoints.table}
    parts = {
        "DefaultEndpointsProtocol": "http",
        "AccountName": ACCOUNT,
        "AccountKey": WELL_KNOWN_DEVELOPMENT_KEY,
        **{f"{name}Endpoint": f"http://127.0.0.1:{port}/{ACCOUNT}" for name, port in services.items()},
    }
    return "".join(f"{name}={value};" for name, value in parts.items())
