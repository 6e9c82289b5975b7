"""The managed identity for a test: an issuer, and the environment that leads the unmodified SDKs to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from local_azure.identity import IdentityAddress, Registration, fetch_token, object_id
from local_azure.identity.running import running_identity
from local_azure.testing.services import Services

__all__ = ["Environment", "ManagedIdentity", "lead_to", "trust"]

_OTHER_CREDENTIALS: Final = (
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PASSWORD",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AZURE_USERNAME",
    "IDENTITY_SERVER_THUMBPRINT",
)
"""What would make `DefaultAzureCredential` go to Azure itself before it comes to the managed identity."""


class Environment(Protocol):
    """What changes the process's environment and takes it back: pytest's `MonkeyPatch` is one."""

    def setenv(self, name: str, value: str, prepend: str | None = None) -> None:
        """Set a variable."""

    def delenv(self, name: str, raising: bool = True) -> None:
        """Remove a variable."""


class ManagedIdentity:
    """A user-assigned managed identity that `ManagedIdentityCredential` and `DefaultAzureCredential` find.

    Attributes
    ----------
    client_id
        May be given to a credential; without it the same identity is had.
    object_id
        What roles are granted to.
    environment
        What a process that is to have the identity needs in its environment.
    """

    def __init__(self, services: Services, folder: Path) -> None:
        self.address: IdentityAddress
        self._registration: Registration
        self.address, self._registration = services.start(running_identity(folder))
        self.tenant_id = self.address.tenant
        self.client_id = self._registration.client_id
        self.object_id = object_id(self.tenant_id, self.client_id)
        self.environment = {
            "IDENTITY_ENDPOINT": self.address.managed_identity_url,
            "IDENTITY_HEADER": self._registration.identity_header,
        }

    def token(self, audience: str, *, client: str = "developer", roles: Sequence[str] = ()) -> str:
        """A bearer token of another client for an API, valid for an hour."""
        return fetch_token(self.address, self._registration, client=client, roles=roles, audience=audience)


def lead_to(identity: ManagedIdentity, environment: Environment) -> None:
    """Have credentials of this process find the identity, and nothing else."""
    for name in _OTHER_CREDENTIALS:
        environment.delenv(name, raising=False)
    for name, value in identity.environment.items():
        environment.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy knows nothing of this machine
        hosts = [part for part in os.environ.get(name, "").split(",") if part]
        environment.setenv(name, ",".join([*hosts, "127.0.0.1", "localhost"]))


def trust(bundle: str, environment: Environment) -> None:
    """Have clients of this process trust the certificates in a file beside those they trust anyway.

    requests looks at its variable for each request. aiohttp has read its own when it was imported, so the context that
    it has made then is changed as well; there is no public name for it.
    """
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        environment.setenv(name, bundle)
    connector = sys.modules.get("aiohttp.connector")
    context = getattr(connector, "_SSL_CONTEXT_VERIFIED", None)
    if context is not None:
        context.load_verify_locations(bundle)
