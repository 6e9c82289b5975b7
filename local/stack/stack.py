"""Puts the stack together: storage and brokers first, then the functions hosts with the app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import aiohttp

from local.access import AUDIENCE
from local.azurite import AzuriteEndpoints, parse_endpoints
from local.setup import Environment, find_node
from local.stack.child import Child, Service
from local.stack.data_directory import DataDirectory, DataDirectoryInUse
from local.stack.lake import make_lake
from local.stack.partners import PartnerScripts, running_partners
from local.stack.ports import InternalPorts, any_free, is_free, settle
from local.stack.reload import watch_source
from local.stack.services import (
    EmulatorAddress,
    MissingTool,
    app_settings,
    azurite_service,
    emulator_service,
    host_service,
    identity_service,
    identity_settings,
    parse_emulator,
    vault_service,
    vault_settings,
)
from local.stack.subscriptions import subscribe
from local.stack.supervisor import StartFailed, Supervisor
from local_azure.identity import (
    IdentityAddress,
    IdentityError,
    Registration,
    RegistrationError,
    fetch_token,
    open_registration,
    parse_identity,
)
from local_azure.keyvault import VaultAddress, parse_vault
from local_azure.partner.server import RunningPartner

__all__ = ["Stack", "StackError", "StackOptions"]

_DEFAULT_PORTS = {
    "amqp": 5672,
    "admin": 5300,
    "blob": 10000,
    "queue": 10001,
    "table": 10002,
    "identity": 5310,
    "vault": 5320,
    "vault_admin": 5321,
}
_HIGHEST_PORT = 65_535
_TOKEN_SECONDS = 86_400


class StackError(Exception):
    """The stack cannot start; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class StackOptions:
    """What to start and where.

    Instance i of the functions host listens on `port` + i. `reload` starts the hosts anew when the source
    changes. With `keys` the hosts ask for function and host keys, as Azure does. `settings` come before all others.
    """

    project: Path
    data_directory: Path
    port: int = 7071
    instances: int = 1
    host: Literal["embedded", "func"] = "embedded"
    ports: InternalPorts = field(default_factory=InternalPorts)
    reload: bool = True
    keys: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.instances <= 64:
            raise ValueError(f"--instances must be from 1 to 64, not {self.instances}.")
        if not 1 <= self.port <= _HIGHEST_PORT + 1 - self.instances:
            raise ValueError(f"--port must be from 1 to {_HIGHEST_PORT + 1 - self.instances}, not {self.port}.")
        if self.keys and self.host != "embedded":
            raise ValueError("--keys is of the embedded host; Core Tools never ask for keys.")
        if self.host not in ("embedded", "func"):
            raise ValueError(f"--host must be embedded or func, not {self.host}.")


class Stack:
    """A running local Azure; use it as an asynchronous context, which stops everything when it ends."""

    def __init__(self, options: StackOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self.data = DataDirectory(options.data_directory, options.project)
        self._supervisor = Supervisor(self.data, say)
        self._resources = contextlib.AsyncExitStack()
        self._reload: asyncio.Task[None] | None = None
        self.azurite = AzuriteEndpoints(0, 0, 0)
        self.emulator = EmulatorAddress("", 0, 0)
        self.identity = IdentityAddress("", "")
        self.vault = VaultAddress("", "", "")
        self._scripts = PartnerScripts.of(options.project)
        self.partners: dict[str, RunningPartner] = {}
        self.settings: dict[str, str] = {}

    @property
    def urls(self) -> list[str]:
        """The address of each functions host."""
        return [f"http://127.0.0.1:{self._options.port + i}" for i in range(self._options.instances)]

    @property
    def keys_file(self) -> Path | None:
        """Where the hosts keep the keys that they ask for; None if they ask for none."""
        return self.data.path / "host-keys.json" if self._options.keys else None

    @property
    def host_logs(self) -> list[Path]:
        """The log file of each functions host."""
        return [self.data.log(f"host-{i}") for i in range(self._options.instances)]

    async def token(self, *, client: str, roles: tuple[str, ...] = ("producer",)) -> str:
        """A bearer token of a client that may send, or what else its roles allow, valid for a day.

        Raises
        ------
        StackError
            The issuer gives none.
        """
        registration = open_registration(self.data.identity)
        try:
            return await asyncio.to_thread(
                fetch_token,
                self.identity,
                registration,
                client=client,
                roles=roles,
                audience=AUDIENCE,
                lifetime=_TOKEN_SECONDS,
            )
        except IdentityError as error:
            raise StackError(str(error)) from error

    async def __aenter__(self) -> Stack:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def kill(self) -> None:
        """End every process at once, for those who cannot wait."""
        self._supervisor.kill()

    async def _start(self) -> None:
        for port in range(self._options.port, self._options.port + self._options.instances):
            if not is_free(port):
                raise StackError(f"Port {port} is taken: choose another with --port.")
        try:
            self.data.take()
            await self._start_backends()
            await self._start_hosts()
        except (DataDirectoryInUse, StartFailed, MissingTool, RegistrationError, ValueError) as error:
            raise StackError(str(error)) from error
        except OSError as error:
            raise StackError(f"{self.data.path} cannot be used: {error.strerror or error}.") from error

    async def _start_backends(self) -> None:
        node = find_node(Environment(self._options.project))
        if node is None:
            raise StackError("Node is missing: start the stack with `python3 dev.py run`, which installs it.")
        registration = open_registration(self.data.identity)
        defaults = _DEFAULT_PORTS
        for attempt in (1, 2):
            spare = any_free(len(defaults))
            ports = {
                name: self._settled(name, default) or spare + place
                for place, (name, default) in enumerate(defaults.items())
            }
            endpoints = AzuriteEndpoints(blob=ports["blob"], queue=ports["queue"], table=ports["table"])
            identity = IdentityAddress(f"http://127.0.0.1:{ports['identity']}", registration.tenant)
            services = [
                azurite_service(node.executable, self._options.project, self.data, endpoints),
                emulator_service(self._options.project, self.data, ports["amqp"], ports["admin"]),
                identity_service(self._options.project, self.data, identity.port),
                vault_service(
                    self._options.project,
                    self.data,
                    identity,
                    registration,
                    ports["vault"],
                    ports["vault_admin"],
                    self._scripts.secrets,
                ),
            ]
            try:
                started = await self._supervisor.start(services)
                break
            except StartFailed:
                # Another stack that starts at this moment may have been quicker to a default port.
                if attempt == 2 or all(map(is_free, ports.values())):
                    raise
                await self._supervisor.stop()
                defaults = dict.fromkeys(_DEFAULT_PORTS, 0)
        self._learn_addresses(started, registration, node.executable)

    def _settled(self, name: str, default: int) -> int:
        wanted: int | None = getattr(self._options.ports, name)
        port = settle(wanted, default)
        if port is None:
            raise StackError(f"Port {wanted} is taken: choose another with --{name.replace('_', '-')}-port.")
        return port

    def _learn_addresses(self, started: Sequence[Child], registration: Registration, node: Path) -> None:
        """Take the ports that were really used, and keep to them when a process is started again."""
        azurite, emulator, identity, vault = (child.first_printed() for child in started)
        endpoints, address, issuer, safe = (
            parse_endpoints(azurite),
            parse_emulator(emulator),
            parse_identity(identity),
            parse_vault(vault),
        )
        assert endpoints is not None
        assert address is not None
        assert issuer is not None
        assert safe is not None
        self.azurite, self.emulator, self.identity, self.vault = endpoints, address, issuer, safe
        project = self._options.project
        for service in (
            azurite_service(node, project, self.data, endpoints),
            emulator_service(project, self.data, address.amqp, address.admin),
            identity_service(project, self.data, issuer.port),
            vault_service(project, self.data, issuer, registration, safe.port, safe.admin_port, self._scripts.secrets),
        ):
            self._supervisor.replace(service)

    async def _start_hosts(self) -> None:
        storage = self.azurite.connection_string
        broker = self.emulator.connection_string
        connections = {"ServiceBus": broker, "EventHubs": broker}
        connections |= dict.fromkeys(("AzureWebJobsStorage", "State", "Claims", "Lake"), storage)
        registration = open_registration(self.data.identity)
        identity = identity_settings(self.identity, registration) | vault_settings(self.vault, registration)
        await make_lake(storage)
        self.partners = await self._resources.enter_async_context(
            running_partners(self._scripts, self.data.partners, self.urls, first=self._options.ports.partners)
        )
        settings = app_settings(self._options.project, connections, identity, self._scripts.settings(self.partners))
        if self.partners:
            settings["SLUICE_PARTNER_URLS"] = self._scripts.urls(settings["SLUICE_PARTNER_URLS"], self.partners)
        settings |= self._options.settings
        self.settings = settings
        settings["SLUICE_SPAN_STORE"] = str(self.data.spans)
        settings["SLUICE_METRICS"] = "true"
        self.data.keep_settings(settings)
        probe = await self._resources.enter_async_context(aiohttp.ClientSession())
        hosts: list[Service] = [
            host_service(
                self._options.host,
                self._options.project,
                i,
                self._options.port + i,
                settings,
                probe,
                keys=self.keys_file,
            )
            for i in range(self._options.instances)
        ]
        await self._supervisor.start(hosts)
        config = self._options.project / "local" / "config" / "servicebus.json"
        await subscribe(probe, self.vault, self.urls[0], config, broker, self.keys_file)
        if self._options.reload and self._options.host == "embedded":
            names = [host.name for host in hosts]
            self._reload = asyncio.create_task(
                watch_source(self._options.project, lambda: self._supervisor.restart(names), self._say),
                name="reload",
            )

    async def _stop(self) -> None:
        try:
            if self._reload is not None:
                self._reload.cancel()
                await asyncio.gather(self._reload, return_exceptions=True)
            await self._supervisor.stop()
        finally:
            await self._resources.aclose()
            self.data.leave()
