"""The real parts that integration tests talk to: one Azurite for all, one emulator for each module."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from local.access import AUDIENCE, ROLES
from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.setup import Environment, find_node
from local.stack.services import VAULT_SEEDS, identity_settings, vault_settings
from local_azure.identity import (
    IdentityAddress,
    Registration,
    fetch_token,
    object_id,
    parse_identity,
    read_registration,
    rotate_keys,
)
from local_azure.keyvault import VaultAddress, parse_vault

T = TypeVar("T")

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_EMULATOR_READY = re.compile(r'^ready amqp=(\d+) admin=(\d+) ServiceBus="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class RunningEmulator:
    """A Service Bus and Event Hubs emulator that keeps nothing on disk."""

    connection_string: str
    amqp_port: int
    admin_port: int

    def __str__(self) -> str:
        return self.connection_string


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
    with _running([*command, *options], project, folder / "log", parse_endpoints) as endpoints:
        yield endpoints


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[RunningEmulator]:
    """A fresh emulator with the project's own entities; use `emulator.connection_string`."""
    config = project / "local" / "config"
    with running_emulator(
        project, tmp_path_factory.mktemp("emulator"), [config / "servicebus.json", config / "eventhubs.json"]
    ) as found:
        yield found


@dataclass(frozen=True)
class RunningIssuer:
    """An OpenID issuer with a managed identity endpoint, with keys of its own."""

    address: IdentityAddress
    registration: Registration
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What the stack gives its hosts: `IDENTITY_*` and `SLUICE_AUTH_*`."""
        return identity_settings(self.address, self.registration)

    def token(
        self,
        *,
        client: str = "developer",
        roles: tuple[str, ...] = ROLES,
        audience: str = AUDIENCE,
        lifetime: int = 3_600,
    ) -> str:
        """A bearer token."""
        return fetch_token(
            self.address, self.registration, client=client, roles=roles, audience=audience, lifetime=lifetime
        )

    def rotate(self, overlap: float = 86_400.0) -> str:
        """Sign with a new key from now on; its id."""
        return rotate_keys(self.address, self.registration, overlap=overlap)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[RunningIssuer]:
    """A fresh OpenID issuer; use `issuer.settings` and `issuer.token(...)`."""
    with running_issuer(project, tmp_path_factory.mktemp("issuer")) as found:
        yield found


@contextmanager
def running_issuer(project: Path, folder: Path, port: int = 0) -> Iterator[RunningIssuer]:
    """Run an issuer that keeps its keys in `folder`; one that ran there before goes on with them."""
    command = [sys.executable, "-m", "local_azure.identity", "--data-dir", str(folder / "data"), "--port", str(port)]
    command += [part for role in ROLES for part in ("--role", role)]
    with _running(command, project, folder / "log", parse_identity) as address:
        yield RunningIssuer(address, read_registration(folder / "data"), folder)


@dataclass(frozen=True)
class RunningVault:
    """A Key Vault with the app's seeds; the issuer's `developer` may do everything in it."""

    address: VaultAddress
    issuer: RunningIssuer
    folder: Path
    pid: int

    @property
    def url(self) -> str:
        """What `vault_url` of a client is."""
        return self.address.url

    @property
    def ca_bundle(self) -> str:
        """What `connection_verify` of a client is in a process that has not `settings` as its environment."""
        return self.address.ca_bundle

    @property
    def settings(self) -> dict[str, str]:
        """What the stack gives its hosts: `KeyVault__*`, `IDENTITY_*`, `SLUICE_AUTH_*`, `SSL_CERT_FILE`."""
        return self.issuer.settings | vault_settings(self.address, self.issuer.registration)

    def administer(self, method: str, path: str, content: Any = None) -> Any:
        """Ask the administration: `faults`, `requests`, `events`, `subscriptions`, `access/OBJECT_ID`."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.address.admin_url}/{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def fault(self, kind: str, **details: Any) -> None:
        """Have requests go wrong; see `local_azure.keyvault.faults.Fault` for the details."""
        self.administer("POST", "faults", {"kind": kind, **details})

    def heal(self) -> None:
        """Have nothing go wrong any more."""
        self.administer("DELETE", "faults")

    def requests(self) -> dict[str, Any]:
        """What was asked of it: `{"operations": {"secrets/get": {"200": 3}}, "items": {...}}`."""
        found = self.administer("GET", "requests")
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, project: Path, issuer: RunningIssuer) -> Iterator[RunningVault]:
    """A fresh Key Vault; use `vault.settings`, or `vault.url` and `vault.ca_bundle`."""
    with running_vault(project, tmp_path_factory.mktemp("vault"), issuer) as found:
        yield found


@contextmanager
def running_vault(
    project: Path, folder: Path, issuer: RunningIssuer, *options: str, port: int = 0
) -> Iterator[RunningVault]:
    """Run a vault that keeps its items in `folder`; one that ran there before goes on with them."""
    tenant, identity = issuer.address.tenant, issuer.registration.client_id
    command = [sys.executable, "-m", "local_azure.keyvault", "--data-dir", str(folder / "data"), "--port", str(port)]
    command += ["--identity", issuer.address.url, "--tenant", tenant, *VAULT_SEEDS, *options]
    command += ["--grant", f"{object_id(tenant, 'developer')}=Key Vault Administrator"]
    for role in ("Key Vault Secrets Officer", "Key Vault Crypto User"):
        command += ["--grant", f"{object_id(tenant, identity)}={role}"]
    with _running_process(command, project, folder / "log", parse_vault) as (address, pid):
        yield RunningVault(address, issuer, folder, pid)


@contextmanager
def running_emulator(project: Path, folder: Path, configs: list[Path]) -> Iterator[RunningEmulator]:
    """Run the emulator in memory, on free ports, with the entities of `configs`; its log goes to `folder`."""
    command = [sys.executable, "-m", "local_azure.broker", "--volatile", "--port", "0", "--admin-port", "0"]
    for config in configs:
        command += ["--config", str(config)]
    with _running(command, project, folder / "log", _parse_emulator) as found:
        yield found


def _parse_emulator(printed: str) -> RunningEmulator | None:
    ready = _EMULATOR_READY.search(printed)
    if ready is None:
        return None
    return RunningEmulator(ready[3], int(ready[1]), int(ready[2]))


@contextmanager
def _running(command: list[str], folder: Path, log: Path, ready: Callable[[str], T | None]) -> Iterator[T]:
    """Run `command` until the block ends, from the moment `ready` finds what it wants in what it printed."""
    with _running_process(command, folder, log, ready) as (found, _):
        yield found


@contextmanager
def _running_process(
    command: list[str], folder: Path, log: Path, ready: Callable[[str], T | None]
) -> Iterator[tuple[T, int]]:
    """The same, with the process id."""
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield _wait(process, log, ready), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: Callable[[str], T | None]) -> T:
    give_up = time.monotonic() + _START_SECONDS
    printed = ""
    while time.monotonic() < give_up:
        printed = log.read_text(encoding="utf-8", errors="replace")
        found = ready(printed)
        if found is not None:
            return found
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{printed[-2000:]}")
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} is not ready after {_START_SECONDS:.0f} s:\n{printed[-2000:]}")
