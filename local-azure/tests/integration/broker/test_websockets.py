"""AMQP over WebSockets, through the SDKs' own transport and by hand, on both ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from azure.eventhub import EventData
from azure.eventhub import TransportType as EventHubTransport
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.servicebus import ServiceBusMessage, TransportType
from azure.servicebus.aio import ServiceBusClient

from local_azure.broker.amqp.frames import SASL_HEADER
from local_azure.broker.config import Namespace
from local_azure.broker.entities import EventHubDescription, QueueDescription
from local_azure.broker.running import RunningBroker, running_broker
from unit.broker.peer import Peer

DECLARED = Namespace(
    queues=(QueueDescription(name="queue"), QueueDescription(name="sessions", requires_session=True)),
    event_hubs=(EventHubDescription(name="hub"),),
)


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    """A broker that serves HTTP too."""
    async with running_broker(DECLARED, admin_port=0) as running:
        yield running


async def test_service_bus_over_websockets(broker: RunningBroker) -> None:
    """Sending, receiving, settling and managing, with messages of many frames."""
    async with ServiceBusClient.from_connection_string(
        broker.connection_string,
        transport_type=TransportType.AmqpOverWebsocket,
        custom_endpoint_address=f"sb://127.0.0.1:{broker.port}",
    ) as client:
        bodies = [b"x" * size for size in (1, 1_000, 200_000)]
        async with client.get_queue_sender("queue") as sender, client.get_queue_receiver("queue") as receiver:
            for body in bodies:
                await sender.send_messages(ServiceBusMessage(body))
            got: list[bytes] = []
            while len(got) < len(bodies):
                for message in await receiver.receive_messages(10, max_wait_time=5):
                    got.append(b"".join(message.body))
                    await receiver.renew_message_lock(message)
                    await receiver.complete_message(message)
            assert got == bodies
            assert await receiver.peek_messages(1) == []


async def test_event_hubs_over_websockets(broker: RunningBroker) -> None:
    """A batch and its reader."""
    found: asyncio.Queue[Any] = asyncio.Queue()
    options: dict[str, Any] = {
        "eventhub_name": "hub",
        "transport_type": EventHubTransport.AmqpOverWebsocket,
        "custom_endpoint_address": f"sb://127.0.0.1:{broker.port}",
    }

    async def take(_: Any, event: Any) -> None:
        await found.put(event)

    async with EventHubProducerClient.from_connection_string(broker.connection_string, **options) as producer:
        await producer.send_batch([EventData("one")])
    consumer = EventHubConsumerClient.from_connection_string(broker.connection_string, "$Default", **options)
    async with consumer:
        reading = asyncio.create_task(consumer.receive(take, starting_position="-1"))
        assert (await asyncio.wait_for(found.get(), 10)).body_as_str() == "one"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("which", ["port", "admin_port"])
@pytest.mark.parametrize("protocol", ["AMQPWSB10", "amqp"])
async def test_both_ports_speak_it(broker: RunningBroker, which: str, protocol: str) -> None:
    """The bytes may be cut anywhere, and a cut message is no matter."""
    url = f"ws://127.0.0.1:{getattr(broker, which)}/$servicebus/websocket/"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        opening = Peer.opening()
        for start in range(0, len(opening), 7):
            await socket.send_bytes(opening[start : start + 7])
        received = b""
        while b"local-azure" not in received:
            received += await socket.receive_bytes(timeout=5)
        assert received.startswith(SASL_HEADER)


async def test_noise_ends_its_connection_only(broker: RunningBroker) -> None:
    """Text, garbage and a client that vanishes."""
    url = f"ws://127.0.0.1:{broker.port}/$servicebus/websocket"
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, protocols=["AMQPWSB10"]) as socket:
            await socket.send_str("hello")
            assert (await socket.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        async with session.ws_connect(url, protocols=["AMQPWSB10"]) as socket:
            await socket.send_bytes(b"\x00" * 64)
            message = await socket.receive(timeout=5)
            while message.type is aiohttp.WSMsgType.BINARY:
                message = await socket.receive(timeout=5)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        socket = await session.ws_connect(url, protocols=["AMQPWSB10"])
        await socket.send_bytes(Peer.opening())
        await socket.receive_bytes(timeout=5)
        connection = socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
    for _ in range(500):
        if not broker.catalogue.snapshot()["connections"]:
            break
        await asyncio.sleep(0.01)
    assert broker.catalogue.snapshot()["connections"] == 0
    await test_service_bus_over_websockets(broker)
