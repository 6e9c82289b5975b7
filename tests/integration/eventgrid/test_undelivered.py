"""From a subscriber that refuses, through the container that the local Event Grid writes, to the app that drains it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient
from azure.storage.blob.aio import ContainerClient

from local_azure.testing import EventGrid, Partner, Services
from shared.blobs import ForeignBlobs
from shared.dead_letters import DeadLetterStore
from shared.undelivered import UndeliveredDrain
from tests.unit.functions.conftest import utc_now
from tests.unit.memory import MemoryDeadLetters


@pytest.fixture
def services() -> Iterator[Services]:
    """A loop of one's own."""
    found = Services()
    yield found
    found.close()


async def test_what_a_subscriber_refused_is_delivered_or_recorded_and_the_container_is_empty(
    services: Services, partner: Partner, azurite: Any
) -> None:
    """Written in the documented format; drained twice, as after a crash, nothing is there twice."""
    name = f"undelivered-{time.time_ns()}"
    async with ContainerClient.from_connection_string(azurite.connection_string, name) as container:
        await container.create_container()
        await asyncio.to_thread(refused, EventGrid(services, storage=azurite.connection_string), partner, name)
        blobs, dead, delivered = ForeignBlobs(container), MemoryDeadLetters(), list[Mapping[str, Any]]()
        (written,) = [one async for one in blobs.names()]
        content = await blobs.read(written, largest=1_000_000)
        assert await blobs.read(written, largest=10) is None

        async def deliver(event: Mapping[str, Any]) -> bool:
            if event["type"] == "ours":
                delivered.append(event)
            return bool(event["type"] == "ours")

        drain = UndeliveredDrain(blobs, deliver, cast("DeadLetterStore", dead), now=utc_now)
        assert await drain.drain(lambda: True)
        assert [one async for one in blobs.names()] == []
        await container.upload_blob("again.json", content or b"")
        assert await drain.drain(lambda: True)
        assert [one["data"] for one in delivered] == [{"n": 1}] * 2
        ((identity, letter),) = dead.letters.items()
        assert identity
        assert json.loads(letter.body)["data"] == {"n": 2}
        assert letter.reason == "Event Grid: UndeliverableDueToClientError, last BadRequest"
        await container.delete_container()
        assert [one async for one in blobs.names()] == []


def refused(grid: EventGrid, partner: Partner, container: str) -> None:
    """Two events that a webhook answers with 400."""
    partner.answers("OPTIONS", status=200, headers={"WebHook-Allowed-Origin": "*"})
    partner.answers("POST", status=400)
    topic = grid.topic("orders", inputSchema="CloudEventSchemaV1_0")
    properties = {"resourceId": "/local", "blobContainerName": container}
    grid.webhook(
        "orders",
        "to-shop",
        f"{partner.url}/hook",
        deadLetterDestination={"endpointType": "StorageBlob", "properties": properties},
    )
    with EventGridPublisherClient(topic.endpoint, AzureKeyCredential(topic.key)) as client:
        client.send([CloudEvent(source="/s", type=kind, data={"n": n}) for n, kind in ((1, "ours"), (2, "theirs"))])
    grid.settled()
    grid.move(300)
    grid.settled()
