"""A Key Vault for a test, whose administrator the managed identity is."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from local_azure.keyvault.access import Access
from local_azure.keyvault.errors import VaultError
from local_azure.keyvault.requests import Throttle
from local_azure.keyvault.running import running_vault
from local_azure.keyvault.wire import Asked
from local_azure.testing.identity import ManagedIdentity
from local_azure.testing.services import Services

__all__ = ["KeyVault"]

_LIMIT: Final = 4_000
"""Requests in ten seconds: the service's limit for secrets."""


class KeyVault:
    """A vault.

    Attributes
    ----------
    uri
        What `vault_url` of a client is.
    ca_bundle
        The certificates that a client of it must trust, as a file in PEM.
    environment
        What a process that uses the vault needs in its environment beside the identity's.
    """

    def __init__(self, services: Services, identity: ManagedIdentity, folder: Path) -> None:
        access = Access()
        access.grant(identity.object_id, ["Key Vault Administrator"])
        throttle = Throttle(_LIMIT, time.monotonic)
        running = services.start(running_vault(folder, identity.address, access, throttle=throttle))
        self._services = services
        self._vault = running.vault
        self.uri = running.address.url
        self.ca_bundle = running.address.ca_bundle
        self.environment = {"SSL_CERT_FILE": self.ca_bundle, "REQUESTS_CA_BUNDLE": self.ca_bundle}

    def set(self, name: str, value: str) -> None:
        """Give a secret a value; one that was deleted under the name is purged first.

        Raises
        ------
        ValueError
            If the service would refuse the name or the value.
        """

        async def put() -> None:
            secrets = self._vault.secrets
            with suppress(VaultError):
                secrets.collection.purge(name)
            secrets.set(Asked("PUT", f"/secrets/{name}", body=json.dumps({"value": value}).encode()), name, "")

        try:
            self._services.run(put())
        except VaultError as error:
            raise ValueError(f"secret {name!r}: {error}") from None
