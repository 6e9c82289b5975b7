"""Application properties as a function sees them: what .NET writes for each AMQP type, through a real broker."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.types import Described, Symbol, Timestamp, ULong
from local_azure.broker.config import Namespace
from local_azure.broker.entities import EventHubDescription, QueueDescription
from local_azure.broker.running import running_broker
from local_azure.host.amqp_types import keep_types, property_value, typed_decoder
from local_azure.host.eventhubs import client as event_hubs
from local_azure.host.functions import Function
from local_azure.host.servicebus import client as service_bus
from local_azure.host.trigger_data.event_hubs import Partition
from local_azure.host.trigger_data.event_hubs import batch as event_batch
from local_azure.host.trigger_data.net_json import json_text
from local_azure.host.trigger_data.service_bus import batch as message_batch

DECLARED = Namespace(queues=(QueueDescription(name="queue"),), event_hubs=(EventHubDescription(name="hub"),))
WHOLE = datetime(2026, 11, 30, 10, 20, 30, tzinfo=UTC)
FRACTION = datetime(2026, 11, 30, 10, 20, 30, 120_000, tzinfo=UTC)
SENT: dict[Any, Any] = {"at": WHOLE, "exact": FRACTION, "text": "2026", "number": 5, "flag": True}
SEEN = {"at": "2026-11-30T10:20:30Z", "exact": "2026-11-30T10:20:30.12Z", "text": "2026", "number": 5, "flag": True}


async def test_a_timestamp_on_a_message_is_iso_text(tmp_path: Path) -> None:
    """In the metadata of a Service Bus trigger, beside properties of other types."""
    async with (
        running_broker(DECLARED) as broker,
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_queue_sender("queue") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("x", application_properties=SENT))
        receiver = client.get_queue_receiver("queue")
        keep_types(receiver)
        async with receiver:
            (message,) = await receiver.receive_messages(max_wait_time=5)
            _, metadata = message_batch([service_bus.plain(message)], "binary")
            await receiver.complete_message(message)
    assert json.loads(metadata["ApplicationPropertiesArray"].value) == [SEEN]


async def test_a_timestamp_on_an_event_is_iso_text() -> None:
    """In the metadata of an Event Hubs trigger."""
    found: asyncio.Queue[Any] = asyncio.Queue()

    async def take(_: Any, event: Any) -> None:
        await found.put(event)

    async with running_broker(DECLARED) as broker:
        connection = broker.connection_string
        async with EventHubProducerClient.from_connection_string(connection, eventhub_name="hub") as producer:
            event = EventData("x")
            event.properties = SENT
            await producer.send_batch([event])
        consumer = event_hubs.with_types(
            EventHubConsumerClient.from_connection_string(connection, "$Default", eventhub_name="hub")
        )
        async with consumer:
            reading = asyncio.create_task(consumer.receive(take, starting_position="-1"))
            got = await asyncio.wait_for(found.get(), 10)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    _, metadata = event_batch([event_hubs.plain(got)], Partition(), "binary")
    assert json.loads(metadata["PropertiesArray"].value) == [SEEN]


@pytest.mark.parametrize("trace", [{"traceparent": "\u00e9", "tracestate": "\u00fc=1"}, {"Diagnostic-Id": "\u2028"}])
async def test_a_message_with_a_trace_of_any_text_is_settled(trace: dict[Any, Any]) -> None:
    """The SDK reads what names its trace as ASCII, and fails to settle it otherwise; decoded with types it doesn't."""
    async with (
        running_broker(DECLARED) as broker,
        ServiceBusClient.from_connection_string(broker.connection_string) as client,
        client.get_queue_sender("queue") as sender,
    ):
        await sender.send_messages(ServiceBusMessage("x", application_properties={**trace}))
        binding = SimpleNamespace(setting={"queueName": "queue"}.get)
        receiver = service_bus.make_receiver(client, cast(Function, binding), prefetch=0)
        async with receiver:
            (message,) = await receiver.receive_messages(max_wait_time=5)
            assert service_bus.plain(message).application_properties == trace
            await receiver.complete_message(message)
            assert await receiver.receive_messages(max_wait_time=0.2) == []


@pytest.mark.parametrize("client", ["servicebus", "eventhub"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Timestamp(0), "1970-01-01T00:00:00Z"),
        (Timestamp(-1), "1969-12-31T23:59:59.999Z"),
        (Described(Symbol("com.microsoft:timespan"), 50_000_000), "00:00:05"),
        (Described(Symbol("com.microsoft:datetime-offset"), 621_355_968_010_000_000), "1970-01-01T00:00:01+00:00"),
        (Described(Symbol("com.microsoft:timespan"), -50_000_000), "-00:00:05"),
        (Described(Symbol("com.microsoft:uri"), "http://x"), "http://x"),
        (b"\x00text", "AHRleHQ="),
        (5, 5),
    ],
)
def test_net_s_own_types_are_written_as_net_does(client: str, value: Any, text: Any) -> None:
    """Both SDKs' decoders keep what the host needs to know."""
    decode = typed_decoder(f"azure.{client}._pyamqp._decode")
    data = encode(Described(ULong(0x74), {"p": value})) + encode(Described(ULong(0x75), b"x"))
    properties = decode(memoryview(data)).application_properties
    assert json.loads(json_text(property_value(properties["p"]))) == text
