"""Webhooks through the whole of it: the host's wire, the vault's secret, a lane, a handler, the dead letters."""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from functions.composition.state import state_store
from integration.host.conftest import HostStarter, RunningHost, wait_for
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from shared.dead_letters import Filters
from shared.messages import Registry
from shared.settings import Settings
from shared.state import bucket_of, state_key, unpack
from tests.integration.conftest import RunningVault

SECRET = "an example secret"

APP = """
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import Contract, Integration, Registry
from shared.settings import Settings
from shared.telemetry import configure
from shared.webhooks import Header, Hmac

shop = Integration("shop")
shop.receives("erp", Hmac(header="x-signature", delivery=Header("x-delivery")))


class Sold(Contract):
    item: str
    amount: int


class Total(Contract):
    amounts: tuple[int, ...] = ()


@shop.webhook("erp", key="item")
async def sold(sale: Sold, work) -> None:
    known = await work.load("sales", sale.item, Total) or Total()
    await work.save("sales", sale.item, Total(amounts=(*known.amounts, sale.amount)))


settings = Settings.load()
configure(settings)
app = compose(capabilities_of(Composition(settings, Registry([shop])), CAPABILITIES))
"""


@pytest.fixture
def settings(
    azurite: AzuriteEndpoints,
    emulator: BrokerProcess,
    vault: RunningVault,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """What the host reads; the vault has the sender's secret."""
    for name, value in vault.issuer.settings.items():
        monkeypatch.setenv(name, value)
    credential = ManagedIdentityCredential(client_id=vault.issuer.registration.client_id)
    transport = RequestsTransport(connection_verify=vault.ca_bundle)
    with SecretClient(vault.url, credential, transport=transport) as client:
        client.set_secret("webhook-erp", SECRET)
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker, storage = emulator.connection_string, azurite.connection_string
    connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
    own = {"AzureWebJobsStorage": storage, "SLUICE_OPERATION_KEY": "k" * 32}
    return {**values, **connections, **vault.settings, **own}


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts hosts and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        if host.runs:
            host.stop()


def post(host: RunningHost, content: bytes, delivery: str, secret: str = SECRET, *, chunked: bool = False) -> int:
    """Send a webhook as its sender would; the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
    signature = hmac.digest(secret.encode(), content, "sha256").hex()
    headers = {"Content-Type": "application/json", "X-Signature": signature, "X-Delivery": delivery}
    body = iter([content[:5], content[5:]]) if chunked else content
    connection.request("POST", "/api/webhooks/erp", body, headers, encode_chunked=chunked)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.timeout(180)
@pytest.mark.parametrize("streams", ["true", "false"])
def test_what_is_genuine_takes_effect_once(settings: dict[str, str], start_host: HostStarter, streams: str) -> None:
    """Over both bridges of the platform; what its handler can't read is a dead letter; nobody needs a token."""
    host = start_host(APP, None, **{**settings, "SLUICE_HTTP_STREAMS": streams})
    item = uuid4().hex
    content = json.dumps({"item": item, "amount": 3, "note": "Grüße"}, ensure_ascii=False).encode()
    chunked = streams == "true"  # to a classic binding the platform hands no body that comes in chunks
    assert [post(host, content, "d-1" + item, chunked=one) for one in (False, chunked, False)] == [200] * 3
    assert post(host, content, "d-2" + item, "a guess") == 401
    assert post(host, json.dumps({"item": item, "amount": 4}).encode(), "d-3" + item) == 200
    assert post(host, json.dumps({"item": item, "amount": "many"}).encode(), "d-4" + item) == 200

    async def amounts(composition: Composition) -> list[int]:
        bucket, key = bucket_of(item, composition.settings.state_buckets), state_key("sales", item)
        row = (await composition.get(state_store).find(bucket, [key])).get(key)
        return [] if row is None else json.loads(unpack(row))["amounts"]

    async def dead(composition: Composition) -> list[str]:
        found = [one async for one in composition.get(dead_letter_store).select(Filters())]
        return [one.code for one in found if one.event_type == "webhook:erp:*"]

    def asked(question: object) -> object:
        async def run() -> object:
            composition = Composition(Settings.load(settings), Registry([]))
            try:
                return await question(composition)  # type: ignore[operator]
            finally:
                await composition.close()

        return asyncio.run(run())

    before = int(streams == "false")
    wait_for(lambda: sorted(asked(amounts)) == [3, 4], 60, "both effects, each once")  # type: ignore[call-overload]
    wait_for(lambda: asked(dead) == ["VALIDATION_ERROR"] * (before + 1), 60, "the dead letter")
    assert sorted(asked(amounts)) == [3, 4]  # type: ignore[call-overload]
