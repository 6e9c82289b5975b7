"""From a hub into bronze: through the host's hands, through the client's, and past the end of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.functions import get_binding_registry
from azure.storage.blob.aio import ContainerClient

from functions.batches import stream_events
from local.azurite import AzuriteEndpoints
from local_azure.host.trigger_data.event_hubs import Partition, ReceivedEvent, batch
from local_azure.testing import EventHubs
from shared.blobs import WholeFiles
from shared.lake.bronze import BronzeFiles, BronzeReader, BronzeWriter, completeness
from shared.streams import Positions, StreamConsumer, StreamEvent
from shared.streams.hub import HubLog
from shared.tables.memory import MemoryTable

HUB = "bronze-log"
BESIDE: dict[str | bytes, Any] = {"text": "é", "number": 5, "ratio": 0.5, "flag": True}
TEXTS = {str(name): value for name, value in BESIDE.items()}


class Ended(Exception):
    """The process is gone: nothing was answered."""


@pytest.fixture
async def files(azurite: AzuriteEndpoints) -> AsyncIterator[BronzeFiles]:
    """Of a container of its own."""
    container = ContainerClient.from_connection_string(azurite.connection_string, f"bronze-{uuid4().hex}")
    found = BronzeFiles(WholeFiles(container), f"ns/{HUB}")
    yield found
    await found.close()


@pytest.fixture
async def log(event_hubs: EventHubs) -> HubLog:
    """A hub with thirty events that have something beside them."""
    event_hubs.hub(HUB, partitions=1)
    async with EventHubProducerClient.from_connection_string(
        event_hubs.connection_string, eventhub_name=HUB
    ) as producer:
        events = await producer.create_batch(partition_id="0")
        for number in range(30):
            event = EventData(b"%d" % number)
            event.properties = {**BESIDE}
            events.add(event)
        await producer.send_batch(events)
    return HubLog(
        lambda: EventHubConsumerClient.from_connection_string(
            event_hubs.connection_string, "$Default", eventhub_name=HUB
        )
    )


async def read(files: BronzeFiles) -> list[StreamEvent]:
    """Everything that bronze has."""
    return [one async for chunk in BronzeReader(files).read("0") for one in chunk]


async def test_a_process_that_ends_before_it_answers_loses_nothing(files: BronzeFiles, log: HubLog) -> None:
    """Its files are there, its position isn't: what comes again makes the same, and what never came is read anew."""
    table = MemoryTable("streampositions")
    hub: list[StreamEvent] = []
    async with aclosing(log.read("0", after=-1)) as chunks:
        async for chunk in chunks:
            hub += chunk
            if len(hub) == 30:
                break

    def instance(dies: bool) -> StreamConsumer:
        writer = BronzeWriter(files, log.identity)

        async def apply(events: Sequence[StreamEvent]) -> None:
            await writer.write(events)
            if dies:
                raise Ended

        return StreamConsumer("bronze", apply, Positions(table, hub=HUB, group="bronze"), log)

    with pytest.raises(Ended):
        await instance(True).deliver(hub[:10])
    assert len(await read(files)) == 10
    await instance(False).deliver(hub[:10])
    await instance(False).deliver(hub[20:])  # the host passed over ten
    kept = await read(files)
    assert kept == hub
    assert [one.properties for one in kept] == [BESIDE] * 30
    (report,) = await completeness(BronzeReader(files), log, verify=True)
    assert (report.first, report.last, report.behind, report.is_whole) == (0, 29, 0, True)


async def test_the_hosts_batches_are_kept_with_all_that_is_beside_them(files: BronzeFiles) -> None:
    """As the worker hands them to the function: time, properties of senders, and what the message itself says."""
    moment = datetime(2026, 11, 30, 12, 0, 0, 579_000, tzinfo=UTC)
    events = [
        ReceivedEvent(
            body=b"\x00\xff" * number,
            sequence_number=number,
            offset=str(number * 100),
            enqueued_time=moment,
            properties={**TEXTS, "list": [1, None], "large": 2**63},
            system_properties={"content-type": "application/json", "x-opt-partition-key": "k"},
        )
        for number in range(3)
    ]
    data, metadata = batch(events, Partition(event_hub=HUB), "binary")
    decoded = get_binding_registry().get("eventHubTrigger").decode(data, trigger_metadata=metadata)
    assert all(one.annotations is None for one in stream_events(decoded))

    async def identity() -> str:
        return "2026"

    await BronzeWriter(files, identity).write(stream_events(decoded, annotated=True))
    kept = await read(files)
    assert [one.body for one in kept] == [one.body for one in events]
    for one in kept:
        assert one.annotations is not None
        assert one.annotations.enqueued == moment
        assert one.annotations.system == {"content-type": "application/json", "x-opt-partition-key": "k"}
        assert one.properties == {**TEXTS, "list": [1, None], "large": 2**63}
