"""Readiness tells the truth of every dependency, whatever happens to it: slowed, frozen, killed."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ManagedIdentityCredential

from functions.composition import CAPABILITIES, SETTINGS, Composition
from functions.composition.secrets import vaults
from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.setup import Environment, find_node
from local_azure.testing.processes import BrokerProcess, broker_process, running
from shared.authentication import signing_keys
from shared.health import Check, Monitor
from shared.messages import Registry
from shared.secrets import Vault
from tests.integration.conftest import RunningIssuer, RunningVault, running_issuer, running_vault

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes can't be frozen here")

SECONDS = 60.0
"""For something to be named: a loaded machine may take its time; how long it should take is a test of its own."""


class SlowRoad:
    """A port of this machine that leads to another; what comes back may be delayed, as the road it follows says."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.delay = 0.0
        self.port = 0
        self.follows = self

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SlowRoad]:
        """Until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, out = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pump(reader, out, slow=False), self._pump(there, writer, slow=True))
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, slow: bool) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                if slow and self.follows.delay:
                    await asyncio.sleep(self.follows.delay)
                sink.write(data)
                await sink.drain()
        sink.close()


@dataclass(frozen=True)
class Services:
    """Every dependency in a process of its own, with its process id."""

    broker: BrokerProcess
    azurite: AzuriteEndpoints
    azurite_pid: int
    issuer: RunningIssuer
    vault: RunningVault
    """With an issuer of its own, which goes on."""


@pytest.fixture
def services(tmp_path: Path, project: Path) -> Iterator[Services]:
    """Not shared: they are killed here."""
    for name in ("broker", "azurite", "issuer", "vaults", "vault"):
        (tmp_path / name).mkdir()
    configs = [project / "local" / "config" / name for name in ("servicebus.json", "eventhubs.json")]
    node = find_node(Environment(project))
    assert node is not None
    command = azurite_command(node.executable, project, tmp_path / "azurite" / "data", AzuriteEndpoints(0, 0, 0))
    with (
        broker_process(tmp_path / "broker", configs) as broker,
        running(command, tmp_path / "azurite" / "log", parse_endpoints) as (azurite, azurite_pid),
        running_issuer(tmp_path / "issuer") as issuer,
        running_issuer(tmp_path / "vaults") as vaults_issuer,
        running_vault(tmp_path / "vault", vaults_issuer) as vault,
    ):
        yield Services(broker, azurite, azurite_pid, issuer, vault)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process takes connections and says nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Dependency:
    """One process with the components that stand for it."""

    def __init__(self, road: SlowRoad, pid: int, checks: Mapping[str, Check], unwell: str = "Unhealthy") -> None:
        self._unwell = unwell
        self._road = road
        self._pid = pid
        quick = {
            name: replace(one, timeout=one.threshold + 0.5, interval=one.threshold + 0.6)
            for name, one in checks.items()
        }
        self._monitor = Monitor(quick)

    async def _until(self, is_so: Callable[[str], bool], what: str) -> None:
        """Read on until all components are so."""
        give_up = time.monotonic() + SECONDS
        seen: dict[str, tuple[str, str]] = {}
        while time.monotonic() < give_up:
            seen = {one.name: (one.status.value, one.description) for one in await self._monitor.components()}
            if all(is_so(status) for status, _ in seen.values()):
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{what}: {seen}")

    async def suffer(self) -> None:
        """Each fault in turn, and well again after all but the last."""
        try:
            await self._until("Healthy".__eq__, "at first")
            self._road.delay = 1.2
            await self._until("Healthy".__ne__, "slowed")
            self._road.delay = 0.0
            await self._until("Healthy".__eq__, "after it was slow")
            with frozen(self._pid):
                await self._until(self._unwell.__eq__, "frozen")
            await self._until("Healthy".__eq__, "after it was frozen")
            os.kill(self._pid, signal.SIGKILL)
            await self._until(self._unwell.__eq__, "killed")
        finally:
            await self._monitor.close()


@asynccontextmanager
async def vault_at(url: str, services: Services) -> AsyncIterator[Vault]:
    """The vault on another road."""
    trust = ssl.create_default_context(cafile=services.vault.ca_bundle)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False)
    async with ManagedIdentityCredential(client_id=services.vault.issuer.registration.client_id) as credential:
        options = {"transport": AioHttpTransport(session=session), "verify_challenge_resource": False}
        made = Vault(url, lambda: credential, reads_per_10_seconds=4_000, options=options)
        try:
            yield made
        finally:
            await made.close()
            await session.close()


@asynccontextmanager
async def roads(services: Services) -> AsyncIterator[dict[str, SlowRoad]]:
    """A road to each port."""
    ports = {
        "broker": services.broker.amqp_port,
        "tables": services.azurite.table,
        "blobs": services.azurite.blob,
        "issuer": urlsplit(services.issuer.address.url).port or 0,
        "vault": services.vault.address.port,
    }
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(SlowRoad(port).open()) for name, port in ports.items()}


def environment(services: Services, roads: Mapping[str, SlowRoad]) -> dict[str, str]:
    """The app's settings, with every dependency at the end of its road."""
    broker = services.broker.connection_string.replace(str(services.broker.amqp_port), str(roads["broker"].port))
    azurite = replace(services.azurite, blob=roads["blobs"].port, table=roads["tables"].port).connection_string
    issuer = services.issuer.address
    return {
        "ServiceBus": broker,
        "EventHubs": broker,
        "State": azurite,
        "Claims": azurite,
        "SLUICE_OPERATION_KEY": "secret:operation-key",
        "SLUICE_STATE_BUCKETS": "4",
        "SLUICE_AUTH_ISSUER": issuer.issuer,
        "SLUICE_AUTH_AUDIENCE": "api",
        "SLUICE_AUTH_JWKS_URI": issuer.jwks_uri.replace(issuer.url, f"http://127.0.0.1:{roads['issuer'].port}"),
        "KeyVault__vaultUri": services.vault.url,
    }


async def test_every_dependency_is_named_when_it_is_slow_frozen_or_killed(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a process of its own, all side by side, each by the checks that the app has."""
    monkeypatch.setattr(signing_keys, "PAUSE", 0.5)  # a fetch must be earned, which would take the test 5 s each
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, services.vault.issuer.settings[name])
    async with roads(services) as road, vault_at(f"https://localhost:{road['vault'].port}", services) as vault:
        composition = Composition(SETTINGS.load(environment(services, road)), Registry([]), parts={vaults: (vault,)})
        offered = [make(composition) for make in CAPABILITIES]
        checks = {name: Check.of(probe) for one in offered for name, probe in one.probes.items()}
        assert checks.keys() == {
            "service-bus",
            "event-hubs",
            "lanes",
            "state",
            "claims",
            "read-models",
            "objectives",
            "webhooks",
            "issuer",
            "key-vault",
        }

        def of(*names: str) -> dict[str, Check]:
            return {name: checks[name] for name in names}

        azurite = services.azurite_pid
        road["blobs"].follows = road["tables"]
        try:
            await asyncio.gather(
                Dependency(road["broker"], services.broker.pid, of("service-bus", "event-hubs", "lanes")).suffer(),
                Dependency(road["tables"], azurite, of("state", "claims")).suffer(),
                Dependency(road["vault"], services.vault.pid, of("key-vault")).suffer(),
                Dependency(road["issuer"], services.issuer.pid, of("issuer"), unwell="Degraded").suffer(),
            )
        finally:
            await composition.close()
