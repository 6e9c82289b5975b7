"""Event Grid before the app: it asks, delivers to the app's own endpoint, and what it couldn't comes later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from azure.core.credentials import AzureKeyCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from functions.composition.dead_letters import dead_letter_store
from functions.composition.platform import platform
from functions.composition.rotation import secret_events
from functions.composition.secrets import secret_cache
from functions.composition.undelivered import undelivered_drain
from functions.composition.webhooks import webhooks
from local_azure.testing import EventGrid
from ops.dead_letters import redrive_of
from shared.dead_letters import Action, DeadLetter, DeadLetterStore, Decision, Filters, Status
from shared.messages import Integration, Registry
from shared.tables.memory import MemoryTable
from shared.webhooks import EventGrid as EventGridScheme
from shared.work import Work
from tests.unit.asgi import ask
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.test_webhooks import NOW, SECRET, GridEvent, Vault, running, shop
from tests.unit.memory import MemoryDeadLetters

ATTRIBUTES = [{"name": "x-webhook-key", "type": "Static", "properties": {"value": SECRET, "isSecret": True}}]


@asynccontextmanager
async def listening(app: Running) -> AsyncIterator[str]:
    """The app behind a port of this machine."""

    async def forward(request: web.Request) -> web.Response:
        answer = await ask(
            app.asgi,
            request.method,
            request.path,
            body=await request.read(),
            headers=dict(request.headers),
            query=request.query_string,
        )
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    served = web.Application()
    served.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def publish(grid: EventGrid, topic: Any, events: list[Any]) -> None:
    """With Microsoft's client."""
    with EventGridPublisherClient(topic.endpoint, AzureKeyCredential(topic.key)) as client:
        client.send(events)
    grid.settled()


@pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
@pytest.mark.parametrize("batch", [1, 50])
async def test_a_subscription_is_validated_and_each_event_is_a_message(
    event_grid: EventGrid, schema: str, batch: int
) -> None:
    """In both schemas, single and in batches, with the secret as a delivery property, which the handshake may lack."""
    app = running()
    topic = event_grid.topic("contoso", inputSchema=schema)
    if schema == "EventGridSchema":
        events: list[Any] = [
            EventGridEvent(id=str(n), subject="s", event_type="made", data={}, data_version="1") for n in range(9)
        ]
    else:
        events = [CloudEvent(id=str(n), source="/s", type="made", data={}) for n in range(9)]
    async with listening(app) as url:
        properties = {
            "endpointUrl": f"{url}/api/webhooks/grid?key={SECRET.replace(' ', '%20')}",
            "maxEventsPerBatch": batch,
            "deliveryAttributeMappings": ATTRIBUTES,
        }
        destination = {"endpointType": "WebHook", "properties": properties}
        assert await asyncio.to_thread(event_grid.subscription, "contoso", "to-app", destination=destination)
        await asyncio.to_thread(publish, event_grid, topic, events)
        await asyncio.to_thread(publish, event_grid, topic, events)
    assert len({one.headers.message_id for one in app.lanes.sent}) == 9
    assert event_grid.metrics("contoso")["DeliverySuccessCount"] == 18


async def test_one_bad_event_of_a_batch_costs_itself(event_grid: EventGrid) -> None:
    """What no handler is for is ignored, what its handler can't read goes on its way to become a dead letter."""
    app = running()
    topic = event_grid.topic("contoso", inputSchema="CloudEventSchemaV1_0")
    async with listening(app) as url:
        address = f"{url}/api/webhooks/grid?key={SECRET.replace(' ', '%20')}"
        properties = {"endpointUrl": address, "maxEventsPerBatch": 10}
        destination = {"endpointType": "WebHook", "properties": properties}
        await asyncio.to_thread(event_grid.subscription, "contoso", "to-app", destination=destination)
        events: list[Any] = [CloudEvent(id=str(n), source="/s", type="made", data={}) for n in range(3)]
        strange: Any = CloudEvent(id="x", source="/s", type="unknown", data=None)
        await asyncio.to_thread(publish, event_grid, topic, [events[0], strange, *events[1:]])
    assert len(app.lanes.sent) == 3
    assert event_grid.metrics("contoso")["DeliverySuccessCount"] == 4


async def test_what_could_not_be_delivered_is_the_message_that_it_would_have_been() -> None:
    """The same id as by the webhook; what nobody handles is for the store of dead letters."""
    app = running()
    event = {"id": "7", "eventType": "made", "subject": "s", "data": {}}
    headers = {"x-webhook-key": SECRET}
    assert (await app.post("/api/webhooks/grid", [event], headers)).status == 200
    taking = app.composition.get(webhooks)
    assert await taking.take_undelivered(event)
    first, again = app.lanes.sent
    assert first.headers.message_id == again.headers.message_id
    assert not await taking.take_undelivered({**event, "eventType": "unknown"})


async def test_the_composed_drain_knows_events_of_the_vault_from_others() -> None:
    """And asks for nothing before its first run."""
    taken: list[Mapping[str, Any]] = []

    class Events:
        async def take(self, event: Mapping[str, Any]) -> str:
            taken.append(event)
            return "read anew"

    class Container:
        def container(self, name: str) -> Any:
            assert name == "undelivered-events"
            return self

        async def close(self) -> None:
            """Nothing is open."""

    parts = {
        secret_cache: Vault(),
        secret_events: Events(),
        platform: Container(),
        dead_letter_store: MemoryDeadLetters(),
    }
    app = Running(Registry([shop]), ENVIRONMENT, parts, lambda: NOW)
    deliver = app.composition.get(undelivered_drain)._deliver
    vault = {"type": "Microsoft.KeyVault.SecretNearExpiry", "id": "1"}
    assert await deliver(vault)
    assert await deliver({"id": "7", "eventType": "made", "subject": "s", "data": {}})
    assert not await deliver({"id": "7", "eventType": "other", "subject": "s", "data": {}})
    assert taken == [vault]
    assert len(app.lanes.sent) == 1


async def test_what_several_sources_may_handle_is_nobodys() -> None:
    """An event doesn't say which of them it was for: a person decides."""
    two = Integration("two")

    for name in ("grid-eu", "grid-us"):
        two.receives(name, EventGridScheme())

    @two.webhook("grid-eu", topic="made", key="id")
    @two.webhook("grid-us", topic="made", key="id")
    @two.webhook("grid-us", topic="sold", key="id")
    async def handle(event: GridEvent, work: Work) -> None: ...

    app = Running(Registry([two]), ENVIRONMENT, {secret_cache: Vault()}, lambda: NOW)
    taking = app.composition.get(webhooks)
    assert not await taking.take_undelivered({"id": "7", "eventType": "made", "subject": "s", "data": {}})
    assert not app.lanes.sent
    assert await taking.take_undelivered({"id": "7", "eventType": "sold", "subject": "s", "data": {}})
    assert [one.headers.source for one in app.lanes.sent] == ["/webhooks/grid-us"]


async def test_a_dead_letter_of_event_grid_is_replayed_once_somebody_handles_it() -> None:
    """Until then it is open as before, as is one that is no event."""
    store = DeadLetterStore(MemoryTable("deadletters"), cast("Any", None))

    def letter(body: bytes) -> DeadLetter:
        return DeadLetter(
            identity=f"event-grid:{len(body)}", body=body, properties={}, source="event-grid", category="permanent",
            code="DEAD_LETTERED", reason="", attempts=30, first_failure=NOW, last_failure=NOW,
        )  # fmt: skip

    event = {"id": "7", "eventType": "made", "subject": "s", "data": {}}
    for body in (json.dumps(event).encode(), b"[]", b"no JSON"):
        await store.put(letter(body))
    done: list[tuple[Action, Status]] = []
    order = Decision(by="operator", reason="there is a handler now")
    for registry in (Registry([Integration("none")]), Registry([shop])):
        app = Running(registry, ENVIRONMENT, {secret_cache: Vault(), dead_letter_store: store}, lambda: NOW)
        redrive = redrive_of(app.composition)
        known, _ = await store.newest(Filters(), 10)
        for one in known:
            found = await redrive.replay(one, order)
            done.append((found.action, found.letter.status))
        assert len(app.lanes.sent) == (registry.webhook("grid", "made") is not None)
    assert sorted(done) == [*[(Action.FAILED, Status.OPEN)] * 5, (Action.PROJECT, Status.REPLAYED)]
