"""What the stack runs: the command line of each process and how it shows that it is ready."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from local.access import AUDIENCE, ROLES
from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.stack.child import Child, Service
from local.stack.data_directory import DataDirectory
from local_azure.identity import IdentityAddress, Registration, object_id, parse_identity
from local_azure.keyvault import VaultAddress, parse_vault

__all__ = [
    "VAULT_SEEDS",
    "EmulatorAddress",
    "MissingTool",
    "app_settings",
    "azurite_service",
    "emulator_service",
    "host_service",
    "identity_service",
    "identity_settings",
    "parse_emulator",
    "vault_service",
    "vault_settings",
]

_READY = re.compile(r'^ready amqp=(\d+) admin=(\d+) ServiceBus="([^"]+)"', re.MULTILINE)
_PROBE = aiohttp.ClientTimeout(total=5)
_GRANTS = {
    "developer": ("Key Vault Administrator",),
    "app": ("Key Vault Secrets Officer", "Key Vault Crypto User"),
}
_SECRETS = ("operation-key", "token-key", "data-key", "hmac-key", "api-keys=[]")  # the list of API keys begins empty
VAULT_SEEDS = (*(part for name in _SECRETS for part in ("--secret", name)), "--key", "data-key-wrap")
"""What a new vault holds for the app."""

_CONNECTIONS = ("ServiceBus", "EventHubs", "AzureWebJobsStorage", "State", "Claims", "Lake")


class MissingTool(Exception):
    """A program that was asked for is not on this machine."""


@dataclass(frozen=True)
class EmulatorAddress:
    """Where a running emulator is; one connection string serves Service Bus and Event Hubs."""

    connection_string: str
    amqp: int
    admin: int

    @property
    def status_url(self) -> str:
        """Its page for people; `/status.json` below it is for programs."""
        return f"http://127.0.0.1:{self.admin}"


def parse_emulator(printed: str) -> EmulatorAddress | None:
    """The address an emulator prints when it is ready, or None before."""
    found = _READY.search(printed)
    return EmulatorAddress(found[3], int(found[1]), int(found[2])) if found else None


def azurite_service(node: Path, project: Path, data: DataDirectory, ports: AzuriteEndpoints) -> Service:
    """Azurite on disk; it is given time to stop, since it writes to disk only now and then."""
    data.azurite.mkdir(parents=True, exist_ok=True)
    return Service(
        name="azurite",
        command=azurite_command(node, project, data.azurite, ports),
        folder=project,
        environment=_bare_environment(),
        is_ready=_has_printed(parse_endpoints),
        stop_seconds=60.0,
    )


def emulator_service(project: Path, data: DataDirectory, amqp: int, admin: int) -> Service:
    """The Service Bus and Event Hubs emulator on disk, with the project's entities."""
    config = project / "local" / "config"
    command = [sys.executable, "-m", "local_azure.broker"]
    for name in ("servicebus.json", "eventhubs.json"):
        command += ["--config", str(config / name)]
    command += ["--data-dir", str(data.emulator), "--port", str(amqp), "--admin-port", str(admin)]
    return Service(
        name="emulator",
        command=command,
        folder=project,
        environment=_bare_environment(),
        is_ready=_has_printed(parse_emulator),
    )


def identity_service(project: Path, data: DataDirectory, port: int) -> Service:
    """The OpenID issuer with the managed identity endpoint."""
    command = [sys.executable, "-m", "local_azure.identity", "--data-dir", str(data.identity), "--port", str(port)]
    command += [part for role in ROLES for part in ("--role", role)]
    return Service(
        name="identity",
        command=command,
        folder=project,
        environment=_bare_environment(),
        is_ready=_has_printed(parse_identity),
    )


def identity_settings(address: IdentityAddress, registration: Registration) -> dict[str, str]:
    """What tells the app who signs its callers' tokens, and the SDKs where its own identity is had."""
    return {
        "IDENTITY_ENDPOINT": address.managed_identity_url,
        "IDENTITY_HEADER": registration.identity_header,
        "SLUICE_AUTH_ISSUER": address.issuer,
        "SLUICE_AUTH_AUDIENCE": AUDIENCE,
    }


def vault_service(
    project: Path,
    data: DataDirectory,
    identity: IdentityAddress,
    registration: Registration,
    port: int,
    admin_port: int = 0,
    secrets: Mapping[str, str] | None = None,
) -> Service:
    """The Key Vault; developers may do everything in it, the app what it does in Azure.

    Parameters
    ----------
    secrets:
        What it holds beside the app's own: the keys of simulated partners.
    """
    command = [sys.executable, "-m", "local_azure.keyvault", "--data-dir", str(data.vault), *VAULT_SEEDS]
    command += [part for name, value in (secrets or {}).items() for part in ("--secret", f"{name}={value}")]
    command += ["--port", str(port), "--admin-port", str(admin_port)]
    command += ["--identity", identity.url, "--tenant", identity.tenant]
    for client, roles in (("developer", _GRANTS["developer"]), (registration.client_id, _GRANTS["app"])):
        for role in roles:
            command += ["--grant", f"{object_id(identity.tenant, client)}={role}"]
    return Service(
        name="keyvault",
        command=command,
        folder=project,
        environment=_bare_environment(),
        is_ready=_has_printed(parse_vault),
    )


def vault_settings(address: VaultAddress, registration: Registration) -> dict[str, str]:
    """What leads the app to the vault, as whom, and has the SDKs trust its certificate."""
    return {
        "KeyVault__vaultUri": address.url,
        "KeyVault__credential": "managedidentity",
        "KeyVault__clientId": registration.client_id,
        "SSL_CERT_FILE": address.ca_bundle,  # of aiohttp and all that uses OpenSSL's defaults
        "REQUESTS_CA_BUNDLE": address.ca_bundle,
    }


_PROTECTION = {
    "SLUICE_DATA_KEY": "key:data-key-wrap",
    "SLUICE_TOKEN_KEY": "secret:token-key",
    "SLUICE_ENCRYPTED_LANES": "high,normal,low,ordered",
    "SLUICE_ENCRYPT_CLAIMS": "true",
}
"""What the app protects with the keys that the vault is seeded with; a user's own settings come before these."""


def host_service(
    kind: str,
    project: Path,
    instance: int,
    port: int,
    settings: Mapping[str, str],
    probe: aiohttp.ClientSession,
    *,
    keys: Path | None = None,
) -> Service:
    """One functions host: ours, or the one of Azure Functions Core Tools.

    Parameters
    ----------
    keys
        Ours asks for the function and host keys in this file, as Azure does; None asks for none.

    Raises
    ------
    MissingTool
        If Core Tools are asked for and not installed.
    """
    name = f"host-{instance}"
    command = [sys.executable, "-m", "local_azure.host", "--app", str(project), "--port", str(port), "--instance", name]
    command += ["--quiet-timers", "--log", "json" if settings.get("SLUICE_LOG_FORMAT") == "json" else "text"]
    if keys is not None:
        command += ["--keys", str(keys)]
    if kind == "func":
        command = [_core_tools(), "start", "--port", str(port)]
    return Service(
        name=name,
        command=command,
        folder=project,
        environment={**_bare_environment(), **settings},
        is_ready=_answers(f"http://127.0.0.1:{port}/api/health/ready", probe),
        start_seconds=180.0 if kind == "func" else 60.0,
        stop_seconds=40.0,
    )


def app_settings(
    project: Path,
    connections: Mapping[str, str],
    identity: Mapping[str, str] | None = None,
    partners: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The app's settings: what vault and partners make possible, the committed sample, the user's own, the process
    environment, then the stack's.

    Raises
    ------
    ValueError
        If one of the two files is not such a file; the message names it.
    """
    settings = {**(partners or {}), **(_PROTECTION if identity else {})}
    for name in ("local.settings.sample.json", "local.settings.json"):
        settings |= _settings_file(project / name)
    settings |= {name: os.environ[name] for name in settings if name in os.environ}
    unknown = set(connections) - set(_CONNECTIONS)
    assert not unknown, unknown
    return {**settings, **connections, **(identity or {}), "SLUICE_OPERATION_KEY": "secret:operation-key"}


def _settings_file(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return {str(name): str(value) for name, value in content["Values"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path.name} is not a settings file with an object Values: {error}") from error


def _bare_environment() -> dict[str, str]:
    """This process's environment, with output that is written as it happens and our interpreter found first."""
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PYTHONUNBUFFERED": "1", "VIRTUAL_ENV": sys.prefix, "PATH": search_path}


def _core_tools() -> str:
    found = shutil.which("func")
    if found is None:
        raise MissingTool(
            "Azure Functions Core Tools (func) are not installed: install them, or leave out --host func."
        )
    return found


def _has_printed(parse: Callable[[str], object]) -> Callable[[Child], Awaitable[bool]]:
    async def is_ready(child: Child) -> bool:
        return parse(child.first_printed()) is not None

    return is_ready


def _answers(url: str, probe: aiohttp.ClientSession) -> Callable[[Child], Awaitable[bool]]:
    async def is_ready(child: Child) -> bool:
        try:
            async with probe.get(url, timeout=_PROBE) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return is_ready
