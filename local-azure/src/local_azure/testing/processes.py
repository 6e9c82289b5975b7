"""Services in processes of their own: for tests that kill them, load them, or need faults on purpose."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from local_azure.testing.process import ServiceProcess

__all__ = [
    "BrokerProcess",
    "IssuerProcess",
    "VaultProcess",
    "broker_process",
    "issuer_process",
    "running",
    "vault_process",
]

T = TypeVar("T")

_BROKER_READY = re.compile(r'^ready amqp=(\d+) admin=(\d+) ServiceBus="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class BrokerProcess:
    """Service Bus and Event Hubs, in memory."""

    connection_string: str
    amqp_port: int
    admin_port: int
    pid: int

    def __str__(self) -> str:
        return self.connection_string


@dataclass(frozen=True)
class IssuerProcess:
    """An OpenID issuer with the managed identity endpoint, with keys of its own."""

    address: IdentityAddress
    registration: Registration
    folder: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What leads the SDKs of a process to the managed identity."""
        return {
            "IDENTITY_ENDPOINT": self.address.managed_identity_url,
            "IDENTITY_HEADER": self.registration.identity_header,
        }

    def token(
        self, *, audience: str, client: str = "developer", roles: Sequence[str] = (), lifetime: int = 3_600
    ) -> str:
        """A bearer token, valid for `lifetime` seconds."""
        return fetch_token(
            self.address, self.registration, client=client, roles=roles, audience=audience, lifetime=lifetime
        )

    def rotate(self, overlap: float = 86_400.0) -> str:
        """Sign with a new key from now on, and publish the old one for `overlap` seconds more; the new key's id."""
        return rotate_keys(self.address, self.registration, overlap=overlap)


@dataclass(frozen=True)
class VaultProcess:
    """A Key Vault; the issuer's client `developer` may do everything in it."""

    address: VaultAddress
    issuer: IssuerProcess
    folder: Path
    pid: int

    @property
    def url(self) -> str:
        """What `vault_url` of a client is."""
        return self.address.url

    @property
    def ca_bundle(self) -> str:
        """What `connection_verify` of a client is in a process that has not `environment`."""
        return self.address.ca_bundle

    @property
    def environment(self) -> dict[str, str]:
        """What leads the SDKs of a process to the identity, and has them trust the vault."""
        return {
            **self.issuer.environment,
            "SSL_CERT_FILE": self.address.ca_bundle,
            "REQUESTS_CA_BUNDLE": self.address.ca_bundle,
        }

    def administer(self, method: str, path: str, content: Any = None) -> Any:
        """Ask the administration: `faults`, `requests`, `events`, `subscriptions`, `access/OBJECT_ID`."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.address.admin_url}/{path}", body, method=method)  # noqa: S310
        request.add_header("Content-Type", "application/json")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of this machine
        with direct.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def fault(self, kind: str, **details: Any) -> None:
        """Have requests go wrong; see `local_azure.keyvault.requests.Fault` for the details."""
        self.administer("POST", "faults", {"kind": kind, **details})

    def heal(self) -> None:
        """Have nothing go wrong any more."""
        self.administer("DELETE", "faults")

    def requests(self) -> dict[str, Any]:
        """What was asked of it: `{"operations": {"secrets/get": {"200": 3}}, "items": {...}}`."""
        found = self.administer("GET", "requests")
        assert isinstance(found, dict)
        return found


@contextmanager
def broker_process(folder: Path, configs: Sequence[Path]) -> Iterator[BrokerProcess]:
    """Run a broker in memory, on free ports, with the entities of `configs`; its log goes to `folder`."""
    command = [sys.executable, "-m", "local_azure.broker", "--volatile", "--port", "0", "--admin-port", "0"]
    for config in configs:
        command += ["--config", str(config)]
    with running(command, folder / "log", _BROKER_READY.search) as (ready, pid):
        yield BrokerProcess(ready[3], int(ready[1]), int(ready[2]), pid)


@contextmanager
def issuer_process(folder: Path, *options: str, port: int = 0) -> Iterator[IssuerProcess]:
    """Run an issuer that keeps its keys in `folder`; one that ran there before goes on with them."""
    command = [sys.executable, "-m", "local_azure.identity", "--data-dir", str(folder / "data"), "--port", str(port)]
    with running([*command, *options], folder / "log", parse_identity) as (address, pid):
        yield IssuerProcess(address, read_registration(folder / "data"), folder, pid)


@contextmanager
def vault_process(folder: Path, issuer: IssuerProcess, *options: str, port: int = 0) -> Iterator[VaultProcess]:
    """Run a vault that keeps its items in `folder`; one that ran there before goes on with them.

    The managed identity may do with secrets what it likes, and use keys.
    """
    tenant, identity = issuer.address.tenant, issuer.registration.client_id
    command = [sys.executable, "-m", "local_azure.keyvault", "--data-dir", str(folder / "data"), "--port", str(port)]
    command += ["--identity", issuer.address.url, "--tenant", tenant, *options]
    command += ["--grant", f"{object_id(tenant, 'developer')}=Key Vault Administrator"]
    for role in ("Key Vault Secrets Officer", "Key Vault Crypto User"):
        command += ["--grant", f"{object_id(tenant, identity)}={role}"]
    with running(command, folder / "log", parse_vault) as (address, pid):
        yield VaultProcess(address, issuer, folder, pid)


@contextmanager
def running(command: Sequence[str], log: Path, ready: Callable[[str], T | None]) -> Iterator[tuple[T, int]]:
    """Run `command` until the block ends, from the moment `ready` finds what it wants in what was printed to `log`.

    Gives what was found, and the process id.

    Raises
    ------
    RuntimeError
        If it ends before, or takes too long; the message holds the end of the log.
    """
    process = ServiceProcess(command, log)
    try:
        yield process.until(ready), process.pid
    finally:
        process.stop()
