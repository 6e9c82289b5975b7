"""Planted values are looked for everywhere: in every table, blob, event, broker file, log, preview and answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from azure.data.tables import TableServiceClient
from azure.eventhub.aio import EventHubConsumerClient
from azure.storage.blob import BlobServiceClient

from integration.broker.process import EmulatorProcess
from integration.host.conftest import HostStarter, RunningHost, wait_for
from local.azurite import AzuriteEndpoints
from tests.integration.conftest import RunningIssuer, RunningVault

APP = """
import integrations
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from integrations.orders.models import Order
from shared.messages import Contract, Integration, Registry, Reject, discover
from shared.settings import Settings
from shared.work import Work
from shared.telemetry import configure, log_event

quoting = Integration("quoting")


class Kept(Order):
    pass


@quoting.handles("order.quoted", key="orderId")
async def quote(order: Order, work: Work) -> None:
    log_event("quoted", order=order, name=order.name, why=f"asked by {order.email}")
    raise Reject(f"{order.name} of {order.address} ({order.customer_id}) isn't welcome")


@quoting.handles("order.forwarded", key="orderId")
async def forward(order: Order, work: Work) -> None:
    await work.save("copy", order.order_id, Kept.model_validate(order.model_dump()))
    work.publish("order.unseen", order)
    work.send("order.quoted", order)


settings = Settings.load()
configure(settings)
registry = Registry([*discover(integrations).integrations, quoting])
made = capabilities_of(Composition(settings, registry), CAPABILITIES)
app = compose([one for one in made if one.name in ("api", "processing", "read-models", "dead-letters")])
"""
PLANTED = "Planted-7f31"
ZSTD = b"\x28\xb5\x2f\xfd"


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts hosts and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        host.stop()


@pytest.fixture
def broker(tmp_path: Path, project: Path) -> Iterator[EmulatorProcess]:
    """An emulator that keeps everything on disk."""
    configs = [
        json.loads((project / "local" / "config" / name).read_text()) for name in ("servicebus.json", "eventhubs.json")
    ]
    with EmulatorProcess(tmp_path / "broker", configs) as running:
        yield running


@pytest.fixture
def settings(azurite: AzuriteEndpoints, broker: EmulatorProcess, vault: RunningVault, project: Path) -> dict[str, str]:
    """The app's, with everything encrypted that can be."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    storage, messaging = azurite.connection_string, broker.connection_string
    connections = {"ServiceBus": messaging, "EventHubs": messaging, "State": storage, "Claims": storage}
    encryption = {
        "SLUICE_DATA_KEY": "secret:data-key",
        "SLUICE_TOKEN_KEY": "secret:token-key",
        "SLUICE_ENCRYPTED_LANES": "high,normal,low,ordered",
        "SLUICE_LOG_FORMAT": "json",
        "SLUICE_CLAIM_THRESHOLD_BYTES": "16384",
    }
    own = {"AzureWebJobsStorage": storage, "SLUICE_OPERATION_KEY": "k" * 32}
    return {**values, **vault.settings, **connections, **own, **encryption}


@dataclass
class Client:
    """Calls the API as somebody."""

    host: RunningHost
    issuer: RunningIssuer

    def __call__(self, method: str, path: str, data: Any = None, *, role: str = "operator") -> tuple[int, str]:
        request = urllib.request.Request(f"{self.host.url}/api/{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.issuer.token(client=f'a-{role}', roles=(role,))}")
        request.add_header("Content-Type", "application/json")
        body = None if data is None else json.dumps(data).encode()
        try:
            with urllib.request.urlopen(request, body, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def post(self, path: str, data: Any) -> str:
        """Where to ask what became of it."""
        status, text = self("POST", path, data, role="producer")
        assert status == 202, text
        return str(json.loads(text)["messageId"])


def order(number: str, *, lines: int = 1, **changed: Any) -> dict[str, Any]:
    """An order of somebody who isn't there."""
    line = {"sku": "85123A", "description": "LANTERN", "quantity": 6, "unitPrice": 2.55}
    return {
        "orderId": number,
        "placedAt": "2026-05-01T08:26:00Z",
        "customerId": f"{PLANTED}-id",
        "name": f"Ada {PLANTED}",
        "email": f"{PLANTED}@example.com",
        "address": f"1 {PLANTED} Road, Nowhere",
        "country": "France",
        "lines": [line] * lines,
    } | changed


def envelope(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """A command of any type."""
    return {
        "messageId": str(uuid4()),
        "timestamp": "2026-05-01T08:26:00Z",
        "source": "test",
        "eventType": event_type,
        "version": "1.0",
        "data": data,
    }


def test_planted_values_are_nowhere_but_with_who_may_see_them(
    settings: dict[str, str],
    azurite: AzuriteEndpoints,
    broker: EmulatorProcess,
    vault: RunningVault,
    start_host: HostStarter,
    tmp_path: Path,
    project: Path,
) -> None:
    """An order, a claim, a credit note, a handler that quotes, a command between handlers, an invalid POST."""
    host = start_host(APP, None, **settings)
    call = Client(host, vault.issuer)
    run = uuid4().hex[:8]
    small, large, copied = f"{run}-1", f"{run}-2", f"{run}-3"
    call.post("orders", order(small))
    call.post("orders", order(large, lines=400))
    note = {name: value for name, value in order(f"{run}-4").items() if name not in ("orderId", "placedAt")}
    note |= {"creditNoteId": f"{run}-4", "creditedAt": "2026-05-01T08:26:00Z"}
    note["lines"] = [note["lines"][0] | {"quantity": -1}]
    call.post("credit-notes", note)
    call.post("messages", envelope("order.forwarded", order(copied)))
    refused = [
        call("POST", "orders", order(f"{run}-5", email=PLANTED, customerId=f"{PLANTED} ?"), role="producer"),
        call("POST", "orders", order(f"{run}-6", name=[PLANTED]), role="producer"),
        call("POST", "messages", envelope("order.quoted", order(f"{run}-7", lines=0)), role="producer"),
    ]
    for status, text in refused:
        assert status == 400
        assert PLANTED not in text

    def seen(path: str, role: str = "operator") -> Any:
        status, text = call("GET", path, role=role)
        return json.loads(text) if status == 200 else None

    shown = wait_for(lambda: seen(f"orders/{small}") and seen(f"orders/{large}") and seen(f"credit-notes/{run}-4"))
    assert shown["email"] == f"{PLANTED}@example.com"
    found = wait_for(lambda: (page := seen(f"orders?customerId={quote(PLANTED)}-id")) and page["count"] == 2 and page)
    assert sorted(row["orderId"] for row in found["value"]) == [small, large]
    assert call("GET", f"orders?customerId={PLANTED}-id", role="reader")[0] == 403
    masked = seen(f"orders/{small}", "reader")
    assert PLANTED not in json.dumps(masked)
    assert masked["customerId"].startswith("tok_")
    assert masked["$masked"] == ["/address", "/customerId", "/email", "/name"]

    def letters(*arguments: str) -> str:
        command = [sys.executable, "-m", "ops", "dead-letters", *arguments]
        done = subprocess.run(
            command, cwd=project, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    wait_for(lambda: host.records("dead letter"))
    (letter,) = wait_for(lambda: json.loads(letters("list", "--key", copied, "--json"))["letters"], 30)
    assert letter["reason"].startswith("[redacted] of [redacted] ([redacted]) isn't welcome")
    assert "[redacted]" in letters("show", letter["id"])
    assert PLANTED not in letters("show", letter["id"]) + letters("show", letter["id"], "--json")
    assert f"Ada {PLANTED}" in letters("show", letter["id"], "--reveal", "--reason", "a test", "--by", "a test")
    assert "revealed" in letters("show", letter["id"])

    events = asyncio.run(events_of(broker.connection_string))
    assert sum(small in event or large in event or copied in event for event in events) >= 3
    places = {
        "events": "\n".join(events).encode(),
        "tables": "\n".join(rows_of(azurite.connection_string)).encode(),
        "blobs": b"\n".join(blobs_of(azurite.connection_string)),
        "host's log": host.output.read_bytes(),
    }
    assert small.encode() in places["tables"]
    assert b'"quoted"' in places["host's log"]
    for file in (*(tmp_path / "broker").rglob("*"), *vault.folder.rglob("*"), *vault.issuer.folder.rglob("*")):
        if file.is_file():
            places[str(file)] = file.read_bytes()
    planted = (PLANTED.encode(), PLANTED.encode("utf-16-le"), quote(f"{PLANTED}@").encode())
    assert {name for name, content in places.items() if any(one in content for one in planted)} == set()


async def events_of(connection: str) -> list[str]:
    """Every event of the hub, as it travels."""
    found: list[str] = []
    client = EventHubConsumerClient.from_connection_string(connection, "$default", eventhub_name="events")
    done = asyncio.Event()
    async with client:
        last: dict[str, int] = {}
        for partition in await client.get_partition_ids():
            number = (await client.get_partition_properties(partition))["last_enqueued_sequence_number"]
            if number >= 0:
                last[partition] = number

        async def take(context: Any, event: Any) -> None:
            found.append(event.body_as_str())
            if event.sequence_number >= last.get(context.partition_id, 0):
                last.pop(context.partition_id, None)
            if not last:
                done.set()

        receiving = asyncio.create_task(client.receive(take, starting_position="-1"))
        async with asyncio.timeout(30):
            await done.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return found


def rows_of(connection: str) -> Iterator[str]:
    """Every row of every table, binary columns as the bytes they are."""
    with TableServiceClient.from_connection_string(connection) as service:
        for table in service.list_tables():
            for row in service.get_table_client(table.name).list_entities():
                for name, value in row.items():
                    yield f"{name}={value.decode('latin-1') if isinstance(value, bytes) else value}"


def blobs_of(connection: str) -> Iterator[bytes]:
    """Every blob with its name, unpacked where it is compressed only."""
    from shared.blobs.zstandard import zstd

    with BlobServiceClient.from_connection_string(connection) as service:
        for container in service.list_containers():
            client = service.get_container_client(container.name)
            for blob in client.list_blobs(include=["metadata"]):
                content = client.download_blob(blob.name).readall()
                yield f"{blob.name} {blob.metadata}".encode()
                yield content
                if content.startswith(ZSTD):
                    with contextlib.suppress(zstd.ZstdError):  # other tests leave blobs that they damaged on purpose
                        yield zstd.decompress(content)
