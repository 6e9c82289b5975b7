"""The vault as a process: faults, counters, the limit, its own death, and the events it sends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.core.exceptions import AzureError, HttpResponseError
from azure.keyvault.secrets import SecretClient
from azure.servicebus.aio import ServiceBusClient

from integration.keyvault.conftest import client_options, developer
from integration.keyvault.seeds import SEEDS
from local_azure.keyvault.events import NotTaken, Rejected, Subscription
from local_azure.keyvault.transports import NetworkTransport
from local_azure.testing.processes import BrokerProcess, IssuerProcess, VaultProcess, broker_process, vault_process


@pytest.fixture(autouse=True)
def healthy(vault: VaultProcess) -> None:
    """Every test begins without faults and counts."""
    vault.heal()
    vault.administer("DELETE", "requests")


def client(vault: VaultProcess, **changes: Any) -> SecretClient:
    return SecretClient(vault.url, developer(vault), **{**client_options(vault), **changes})


def test_reads_are_counted_without_the_challenges(vault: VaultProcess) -> None:
    with client(vault) as secrets:
        for _ in range(3):
            secrets.get_secret("token-key")
    found = vault.requests()
    assert found["operations"]["secrets/get"]["200"] == 3
    assert found["items"]["secrets/get"] == {"token-key": 3}


@pytest.mark.parametrize("status", [500, 503])
def test_a_fault_strikes_so_many_requests_and_then_the_vault_is_well(vault: VaultProcess, status: int) -> None:
    with client(vault) as secrets:
        secrets.get_secret("token-key")
        vault.fault("error", status=status, requests=1, operation="secrets/get")
        with pytest.raises(HttpResponseError) as error:
            secrets.get_secret("token-key")
        assert error.value.status_code == status
        assert secrets.get_secret("token-key").value
    assert vault.requests()["operations"]["secrets/get"]["error"] == 1


def test_a_throttled_client_is_told_when_to_come_again(vault: VaultProcess) -> None:
    with client(vault) as secrets:
        vault.fault("throttle", seconds=7, requests=1)
        with pytest.raises(HttpResponseError) as error:
            secrets.get_secret("token-key")
        assert error.value.status_code == 429
        assert _retry_after(error.value) == 7
        vault.fault("throttle", seconds=0, requests=1)
    with client(vault, retry_total=2) as patient:
        assert patient.get_secret("token-key").value


@pytest.mark.parametrize("kind", ["malformed", "hang"])
def test_an_answer_that_is_none_fails_the_client(vault: VaultProcess, kind: str) -> None:
    with client(vault) as secrets:
        secrets.get_secret("token-key")
        vault.fault(kind, seconds=0.2, requests=1)
        with pytest.raises(AzureError):
            secrets.get_secret("token-key")
        assert secrets.get_secret("token-key").value


def test_latency_makes_it_slow_and_not_wrong(vault: VaultProcess) -> None:
    with client(vault) as secrets:
        secrets.get_secret("token-key")
        vault.fault("latency", seconds=0.2, requests=1)
        began = time.monotonic()
        assert secrets.get_secret("token-key").value
        assert time.monotonic() - began >= 0.2


def test_a_wrong_fault_is_refused(vault: VaultProcess) -> None:
    with pytest.raises(Exception, match="400"):
        vault.fault("fire")


def test_over_the_limit_is_429(tmp_path: Path, issuer: IssuerProcess) -> None:
    with vault_process(tmp_path, issuer, *SEEDS, "--limit", "5") as small, client(small) as secrets:
        with pytest.raises(HttpResponseError) as error:
            [secrets.get_secret("token-key") for _ in range(12)]
        assert error.value.status_code == 429
        assert 1 <= _retry_after(error.value) <= 10


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, issuer: IssuerProcess) -> None:
    """Writers write until the process is killed under them; every write that returned is there afterwards."""
    acknowledged: dict[str, str] = {}
    with vault_process(tmp_path, issuer, *SEEDS) as first:
        port = first.address.port
        with client(first) as secrets:
            seed = secrets.get_secret("operation-key").value
            deleted = secrets.set_secret("gone", "v")
            secrets.begin_delete_secret("gone").wait()

        def write(name: str) -> None:
            with client(first) as own:
                for number in range(10_000):
                    try:
                        own.set_secret(name, str(number))
                    except AzureError:
                        return
                    acknowledged[name] = str(number)

        writers = [threading.Thread(target=write, args=(f"w-{number}",)) for number in range(3)]
        for writer in writers:
            writer.start()
        give_up = time.monotonic() + 60
        while min((int(value) for value in acknowledged.values()), default=0) < 5 or len(acknowledged) < 3:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
        for writer in writers:
            writer.join(20)
        with vault_process(tmp_path, issuer, *SEEDS, port=port) as second, client(second) as secrets:
            assert secrets.get_secret("operation-key").value == seed
            assert secrets.get_deleted_secret("gone").properties.version == deleted.properties.version
            for name, value in acknowledged.items():
                assert int(secrets.get_secret(name).value or "") - int(value) in (0, 1)


def test_a_second_vault_on_the_same_folder_is_refused(tmp_path: Path, issuer: IssuerProcess) -> None:
    with (
        vault_process(tmp_path, issuer),
        pytest.raises(RuntimeError, match="is another vault running on it"),
        vault_process(tmp_path, issuer),
    ):
        pass


async def test_events_that_come_at_once_all_reach_the_queue_at_the_first_try(tmp_path: Path) -> None:
    """One sender's link is opened once, however many wait for it."""
    config = tmp_path / "queues.json"
    namespace = {"Name": "sbemulatorns", "Queues": [{"Name": "secret-events", "Properties": {}}]}
    config.write_text(json.dumps({"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}))
    transport = NetworkTransport()
    with broker_process(tmp_path, [config]) as emulator:
        queue = Subscription("queue", service_bus=emulator.connection_string, queue="secret-events")
        events = [{"id": str(number), "dataVersion": "1", "metadataVersion": "1"} for number in range(16)]
        try:
            await asyncio.gather(*(transport.send(queue, event) for event in events))
        finally:
            await transport.close()
        assert sorted(await _receive(emulator, 16), key=lambda each: int(each["id"])) == events


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (204, None), (206, NotTaken), (404, NotTaken), (503, NotTaken)]
    + [(status, Rejected) for status in (400, 401, 403, 413)],
)
async def test_a_webhook_takes_refuses_or_rejects_by_its_status(status: int, error: type[Exception] | None) -> None:
    async def webhook(request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/", webhook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = NetworkTransport()
    event = {"id": "1", "dataVersion": "1", "metadataVersion": "1"}
    found: Exception | None = None
    try:
        await transport.send(Subscription("s", webhook=f"http://127.0.0.1:{runner.addresses[0][1]}/"), event)
    except NotTaken as refusal:
        found = refusal
    finally:
        await transport.close()
        await runner.cleanup()
    assert (None if found is None else type(found)) is error


async def test_events_reach_webhook_and_queue_and_wait_for_a_subscriber_that_is_late(
    tmp_path: Path, issuer: IssuerProcess
) -> None:
    config = tmp_path / "queues.json"
    queue = {"Name": "secret-events", "Properties": {}}
    namespace = {"Name": "sbemulatorns", "Queues": [queue]}
    config.write_text(json.dumps({"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}))
    received: list[dict[str, Any]] = []
    headers: list[str] = []
    refusals = [503]

    async def webhook(request: web.Request) -> web.Response:
        if refusals:
            return web.Response(status=refusals.pop())
        headers.append(request.headers["aeg-event-type"])
        received.extend(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/runtime/webhooks/eventgrid", webhook)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        with (
            broker_process(tmp_path, [config]) as emulator,
            vault_process(_made(tmp_path / "vault"), issuer, *SEEDS, "--near-expiry-seconds", "3600") as vault,
        ):
            url = f"http://127.0.0.1:{port}/runtime/webhooks/eventgrid?functionName=secret_events"
            subscriptions = [
                {"name": "host", "webhook": url},
                {"name": "queue", "service_bus": emulator.connection_string, "queue": "secret-events"},
            ]
            await asyncio.to_thread(vault.administer, "PUT", "subscriptions", subscriptions)
            now = datetime.now(UTC)
            versions = {
                name: await asyncio.to_thread(_set, vault, name, now + timedelta(seconds=seconds))
                for name, seconds in (("near", 1_800), ("past", -10))
            }
            messages = await _receive(emulator, 4)
            await _until(lambda: len(received) == 4)
    finally:
        await runner.cleanup()
    assert {(each["eventType"].rpartition(".")[2], each["subject"]) for each in received} == {
        ("SecretNewVersionCreated", "near"),
        ("SecretNewVersionCreated", "past"),
        ("SecretNearExpiry", "near"),
        ("SecretExpired", "past"),
    }
    assert sorted(messages, key=str) == sorted(received, key=str)
    assert set(headers) == {"Notification"}
    for event in received:
        name = event["data"]["ObjectName"]
        assert event["subject"] == name
        assert event["data"]["Version"] == versions[name]
        assert event["data"]["Id"] == f"{vault.url}/secrets/{name}/{versions[name]}"
        assert abs(event["data"]["EXP"] - now.timestamp()) < 1_900
        assert "hunter2" not in json.dumps(event)


def _set(vault: VaultProcess, name: str, expires: datetime) -> str | None:
    with client(vault) as secrets:
        return secrets.set_secret(name, "hunter2", expires_on=expires).properties.version


async def _receive(emulator: BrokerProcess, count: int, seconds: float = 60) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    give_up = time.monotonic() + seconds
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as bus,
        bus.get_queue_receiver("secret-events") as receiver,
    ):
        while len(found) < count:
            assert time.monotonic() < give_up, f"{len(found)} of {count} events in {seconds:g} s: {found}"
            for message in await receiver.receive_messages(count, max_wait_time=5):
                found.append(json.loads(bytes(b"".join(message.body))))
                await receiver.complete_message(message)
    return found


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def _retry_after(error: HttpResponseError) -> int:
    response: Any = error.response
    return int(response.headers["Retry-After"])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
