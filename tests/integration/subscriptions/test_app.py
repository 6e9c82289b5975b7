"""Webhooks out through the whole of it: API, event log, queue, receivers of every kind, and a host that is killed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from standardwebhooks import Webhook

from integration.host.conftest import HostStarter, RunningHost
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess, broker_process
from shared.messages import CloudEvent
from tests.scale import SCALE
from tests.unit.shared.subscriptions.kit import Receiver, receiving

EVENTS = int(40 * SCALE)
APP = """
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import Registry
from shared.settings import Settings
from shared.telemetry import configure
from tests.unit.shared.subscriptions.kit import shop

settings = Settings.load()
configure(settings)
made = capabilities_of(Composition(settings, Registry([shop])), CAPABILITIES)
app = compose([one for one in made if one.name in ("subscriptions", "api")])
"""
GOOD = (*(f"fast-{number}" for number in range(1, 10)), "some", "in-order", "in-order-2", "flapping", "slow")
BAD = ("endless", "elsewhere", "silent", "gone", "dead", "refusing")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[BrokerProcess]:
    """The project's own entities; what a killed host was at comes back sooner."""
    config = project / "local" / "config"
    folder = tmp_path_factory.mktemp("emulator")
    queues = json.loads((config / "servicebus.json").read_text())
    for queue in queues["UserConfig"]["Namespaces"][0]["Queues"]:
        queue["Properties"]["LockDuration"] = "PT5S"
    (folder / "servicebus.json").write_text(json.dumps(queues))
    with broker_process(folder, [folder / "servicebus.json", config / "eventhubs.json"]) as found:
        yield found


@pytest.fixture
def settings(azurite: AzuriteEndpoints, emulator: BrokerProcess, project: Path) -> dict[str, str]:
    """What the host reads."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker, storage = emulator.connection_string, azurite.connection_string
    connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
    own = {"AzureWebJobsStorage": storage, "SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_AUTH": "none"}
    return {**values, **connections, **own, "SLUICE_WEBHOOK_TIMEOUT_SECONDS": "3"}


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts hosts and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        if host.runs:
            host.kill()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Receivers of every kind, by path."""
    async with receiving() as found:
        seen: Counter[str] = Counter()

        async def flapping(request: web.Request) -> web.Response:
            seen[request.headers["webhook-id"]] += 1
            return web.Response(status=503 if seen[request.headers["webhook-id"]] == 1 else 204)

        async def slow(_: web.Request) -> web.Response:
            await asyncio.sleep(0.3)
            return web.Response()

        async def endless(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            while True:
                await answer.write(b"x" * 65_536)

        async def elsewhere(_: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": f"{found.url}/fast-1"})

        async def silent(_: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        answers: dict[str, Any] = {"flapping": flapping, "slow": slow, "endless": endless, "elsewhere": elsewhere}
        answers |= {"silent": silent, "gone": 410, "refusing": 500}
        found.answers = {f"/{name}": answer for name, answer in answers.items()}
        yield found


async def subscribed(session: aiohttp.ClientSession, host: RunningHost, receiver: Receiver) -> dict[str, Any]:
    """A subscription for each receiver."""
    made = {}
    for name in GOOD + BAD:
        body: dict[str, Any] = {"url": f"{receiver.url}/{name}", "eventTypes": ["shop.sold"]}
        if name == "dead":
            body["url"] = "http://127.0.0.1:9/dead"
        if name == "some":
            body["filter"] = {"country": "Spain"}
        body["ordered"] = name.startswith("in-order")
        async with session.post(f"{host.url}/api/subscriptions", json=body) as answer:
            made[name] = await answer.json()
            assert answer.status == 201, made[name]
    return made


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something holds; the test's own time-out ends it."""
    while not condition():  # noqa: ASYNC110 - it holds in another process
        await asyncio.sleep(0.1)


async def publish(settings: dict[str, str], run: str, numbers: range) -> None:
    """Events of one key after the other."""
    producer = EventHubProducerClient.from_connection_string(settings["EventHubs"], eventhub_name="events")
    async with producer:
        batch = await producer.create_batch(partition_id="1")
        for number in numbers:
            country = "Spain" if number % 4 == 0 else "France"
            event = CloudEvent(
                id=f"{run}-{number}",
                type="shop.sold",
                source="/sluice",
                subject=f"item-{number % 3}",
                time=datetime.now(UTC),
                version="1.0",
                data=json.dumps({"item": str(number), "country": country}),
                correlation_id=run,
                sequence=number,
            )
            try:
                batch.add(EventData(event.to_json()))
            except ValueError:  # it is full
                await producer.send_batch(batch)
                batch = await producer.create_batch(partition_id="1")
                batch.add(EventData(event.to_json()))
        await producer.send_batch(batch)


@pytest.mark.timeout(240 * max(1.0, SCALE))
async def test_good_receivers_get_all_beside_bad_ones_though_the_host_is_killed(
    settings: dict[str, str], start_host: HostStarter, receiver: Receiver, project: Path
) -> None:
    """Each gets its own, all of it, signed by its own secret; in order where it asked for that."""
    host_json = json.loads((project / "host.json").read_text())
    host = await asyncio.to_thread(start_host, APP, host_json, **settings)
    run = uuid4().hex[:8]
    every = {f"{run}-{number}" for number in range(EVENTS)}
    expected = dict.fromkeys(GOOD, every)
    expected["some"] = {f"{run}-{number}" for number in range(0, EVENTS, 4)}

    def got(name: str) -> list[str]:
        return [json.loads(one.body)["id"] for one in receiver.at(f"/{name}")]

    async with aiohttp.ClientSession() as session:
        made = await subscribed(session, host, receiver)
        half = EVENTS // 2
        await publish(settings, run, range(half))
        await eventually(lambda: len(got("fast-1")) >= half // 4)
        host.kill()
        await publish(settings, run, range(half, EVENTS))
        host = await asyncio.to_thread(start_host.again, start_host.folder / "app0", **settings)
        await eventually(lambda: all(set(got(name)) == wanted for name, wanted in expected.items()))
        async with session.get(f"{host.url}/api/subscriptions/{made['gone']['id']}") as answer:
            assert (await answer.json())["status"] == "disabled"
        for name in BAD[-2:]:
            path = f"{host.url}/api/subscriptions/{made[name]['id']}/deliveries?status=delivered"
            async with session.get(path) as answer:
                assert (await answer.json())["count"] == 0
    for name in GOOD:
        for one in receiver.at(f"/{name}"):
            Webhook(made[name]["secret"]).verify(one.body, one.headers)
    for name in ("in-order", "in-order-2"):
        assert list(dict.fromkeys(got(name))) == [f"{run}-{number}" for number in range(EVENTS)]
        assert len(got(name)) <= EVENTS + 2  # one was under way when the host was killed
