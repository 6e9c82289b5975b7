"""The real parts that integration tests talk to: one Azurite for all, one emulator for each module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.access import AUDIENCE, ROLES
from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.setup import Environment, find_node
from local.stack.services import VAULT_SEEDS, identity_settings, vault_settings
from local_azure.testing.processes import (
    BrokerProcess,
    IssuerProcess,
    VaultProcess,
    broker_process,
    issuer_process,
    running,
    vault_process,
)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[AzuriteEndpoints]:
    """A running Azurite with an empty disk; use `azurite.connection_string`, and names of your own in it."""
    with running_azurite(project, tmp_path_factory.mktemp("azurite")) as endpoints:
        yield endpoints


@contextmanager
def running_azurite(project: Path, folder: Path, *options: str) -> Iterator[AzuriteEndpoints]:
    """Run an Azurite that keeps its data in `folder`, on free ports."""
    node = find_node(Environment(project))
    script = project / "local" / "azurite" / "node_modules" / ".sluice-installed"
    if node is None or not script.exists():
        pytest.fail("Azurite is not installed: start the tests with `python3 dev.py test`.")
    any_free = AzuriteEndpoints(blob=0, queue=0, table=0)
    command = azurite_command(node.executable, project, folder / "data", any_free)
    with running([*command, *options], folder / "log", parse_endpoints) as (endpoints, _):
        yield endpoints


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[BrokerProcess]:
    """A fresh emulator with the project's own entities; use `emulator.connection_string`."""
    config = project / "local" / "config"
    configs = [config / "servicebus.json", config / "eventhubs.json"]
    with broker_process(tmp_path_factory.mktemp("emulator"), configs) as found:
        yield found


class RunningIssuer(IssuerProcess):
    """An OpenID issuer as the stack has it."""

    @property
    def settings(self) -> dict[str, str]:
        """What the stack gives its hosts: `IDENTITY_*` and `SLUICE_AUTH_*`."""
        return identity_settings(self.address, self.registration)

    def token(
        self,
        *,
        audience: str = AUDIENCE,
        client: str = "developer",
        roles: Sequence[str] = ROLES,
        lifetime: int = 3_600,
    ) -> str:
        """A bearer token, for the app and with all its roles unless told otherwise."""
        return super().token(audience=audience, client=client, roles=roles, lifetime=lifetime)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    """A fresh OpenID issuer; use `issuer.settings` and `issuer.token(...)`."""
    with running_issuer(tmp_path_factory.mktemp("issuer")) as found:
        yield found


@contextmanager
def running_issuer(folder: Path, port: int = 0) -> Iterator[RunningIssuer]:
    """Run an issuer that keeps its keys in `folder`; one that ran there before goes on with them."""
    with issuer_process(folder, port=port) as found:
        yield RunningIssuer(found.address, found.registration, found.folder, found.pid)


@dataclass(frozen=True)
class RunningVault(VaultProcess):
    """A Key Vault with the app's seeds, as the stack has it."""

    issuer: RunningIssuer

    @property
    def settings(self) -> dict[str, str]:
        """What the stack gives its hosts: `KeyVault__*`, `IDENTITY_*`, `SLUICE_AUTH_*`, `SSL_CERT_FILE`."""
        identity = identity_settings(self.issuer.address, self.issuer.registration)
        return identity | vault_settings(self.address, self.issuer.registration)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, issuer: RunningIssuer) -> Iterator[RunningVault]:
    """A fresh Key Vault; use `vault.settings`, or `vault.url` and `vault.ca_bundle`."""
    with running_vault(tmp_path_factory.mktemp("vault"), issuer) as found:
        yield found


@contextmanager
def running_vault(folder: Path, issuer: RunningIssuer, *, port: int = 0) -> Iterator[RunningVault]:
    """Run a vault that keeps its items in `folder`; one that ran there before goes on with them."""
    with vault_process(folder, issuer, *VAULT_SEEDS, port=port) as found:
        yield RunningVault(found.address, issuer, found.folder, found.pid)
