"""The app's own parts together: from intake to model by a claim, and its payload's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from functions.composition import Composition
from functions.composition.claims import claim_store
from functions.composition.dead_letters import dead_letter_store
from functions.composition.ingestion import intake
from functions.composition.retention import claim_sweeper
from functions.composition.sending import lane_senders
from functions.composition.state import state_store
from integrations.orders import orders
from local.azurite import AzuriteEndpoints
from shared.dead_letters import DeadLetter
from shared.messages import Delivery, Headers, Registry
from shared.processing import Decoder
from shared.sending import Lanes
from shared.settings import Settings
from shared.state import StateStore
from shared.tables.azure import AzureTable

NOWHERE = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=none;SharedAccessKey=bm9uZQ=="
"""No broker answers there."""


class Sent(Lanes):
    """Lanes that keep what is sent."""

    def __init__(self) -> None:
        super().__init__({})
        self.messages: list[tuple[Headers, bytes]] = []

    async def send(self, headers: Headers, body: bytes) -> None:
        self.messages.append((headers, body))


@pytest.fixture
async def composition(azurite: AzuriteEndpoints, container: ContainerClient) -> AsyncIterator[Composition]:
    storage = azurite.connection_string
    environment = {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "State": storage, "Claims": storage}
    environment |= {"SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_CLAIM_CONTAINER": container.container_name}
    settings = Settings.load(environment)
    table = AzureTable.from_connection_string(storage, f"state{uuid4().hex}")  # other tests lay theirs out otherwise
    store = StateStore([table], buckets=settings.state_buckets)
    found = Composition(settings, Registry([orders]), parts={state_store: store, lane_senders: Sent()})
    yield found
    await found.close()
    await store.close()


def order(lines: int) -> bytes:
    line = {"sku": "85123A", "description": "LANTERN", "quantity": 6, "unitPrice": 2.55}
    data = {"orderId": "536365", "placedAt": "2010-12-01T08:26:00Z", "customerId": None, "country": "France"}
    envelope: dict[str, Any] = {"messageId": str(uuid4()), "timestamp": "2026-01-01T10:00:00Z", "source": "test"}
    envelope |= {"eventType": "order.placed", "version": "1.0", "data": data | {"lines": [line] * lines}}
    return json.dumps(envelope).encode()


async def accepted(composition: Composition, body: bytes) -> tuple[Headers, bytes]:
    sent = cast("Sent", composition.get(lane_senders))
    command = await composition.get(intake).read(body, kind="application/json", route=None, asked_id=None)
    await composition.get(intake).accept(command, correlation_id="c")
    return sent.messages[-1]


def delivered(headers: Headers, body: bytes) -> Delivery:
    properties = {str(name): value for name, value in headers.to_properties().items()}
    return Delivery(body=body, properties=properties, message_id="m", sequence_number=1, delivery_count=1)


@pytest.mark.parametrize(("lines", "claimed"), [(1, False), (2_000, True), (15_000, True)])
async def test_a_large_order_travels_as_a_claim(composition: Composition, lines: int, claimed: bool) -> None:
    headers, travelling = await accepted(composition, order(lines))
    assert (headers.claim is not None) == claimed == (travelling == b"")
    assert headers.claim_encoding == ("zstd" if claimed else None)
    delivery = delivered(headers, travelling)
    decoder = Decoder(composition.registry, composition.get(claim_store), buckets=4)
    read = Headers.from_properties(delivery.properties)
    messages = await asyncio.gather(*(decoder.decode(delivery, read) for _ in range(4)))
    assert {len(message.data.lines) for message in messages} == {lines}  # type: ignore[attr-defined]


async def test_a_payload_is_kept_as_long_as_its_message_may_live_or_a_dead_letter_refers_to_it(
    composition: Composition, container: ContainerClient
) -> None:
    kept, orphan = [(await accepted(composition, order(2_000)))[0] for _ in range(2)]
    start = datetime.now(UTC)
    await composition.get(dead_letter_store).put(dead(kept, start))
    days = 59
    composition.now = lambda: start + timedelta(days=days)
    assert (await composition.get(claim_sweeper).sweep()).deleted == 0
    days = 61
    await composition.get(claim_sweeper).sweep()
    assert [blob.name async for blob in container.list_blobs()] == [kept.claim]
    assert orphan.claim != kept.claim


def dead(headers: Headers, when: datetime) -> DeadLetter:
    return DeadLetter(
        identity=str(headers.message_id),
        body=b"",
        properties={str(name): value for name, value in headers.to_properties().items()},
        source="lane:normal",
        category="permanent",
        code="REJECTED",
        reason="for the test",
        attempts=1,
        first_failure=when,
        last_failure=when,
        message_id=str(headers.message_id),
        lane=headers.lane.value,
    )
