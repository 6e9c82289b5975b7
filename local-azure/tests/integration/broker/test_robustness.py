"""Hostile and unlucky clients: an error or a closed connection for them, nothing for the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from integration.broker.configuration import SERVICE_BUS
from integration.broker.process import EmulatorProcess
from local_azure.broker.amqp.frames import frame
from local_azure.broker.amqp.performatives import Attach, Flow
from unit.broker.peer import Peer, source, target

_AMQP = b"AMQP\x00\x01\x00\x00"
_SASL = b"AMQP\x03\x01\x00\x00"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """A volatile emulator that is treated badly."""
    with EmulatorProcess(tmp_path_factory.mktemp("robust"), SERVICE_BUS, "--volatile") as running:
        yield running


@pytest.fixture
async def bystander(emulator: EmulatorProcess) -> AsyncIterator[None]:
    """Another client, which has to be served as if nothing happened, before and after."""
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string, retry_total=0) as client,
        client.get_queue_sender("second") as sender,
        client.get_queue_receiver("second") as receiver,
    ):
        for after in (False, True):
            await sender.send_messages(ServiceBusMessage("still here"))
            (message,) = await receiver.receive_messages(max_wait_time=5)
            await receiver.complete_message(message)
            if not after:
                yield
    assert "Traceback" not in emulator.log


async def _talk(port: int, data: bytes, seconds: float = 5) -> bytes:
    """Send bytes, and read until the emulator closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"\x00" * 4096,
        _AMQP + b"\xff" * 64,
        _AMQP + b"\x00\x00\x00\x00\x02\x00\x00\x00" * 10,
        _AMQP + b"\x7f\xff\xff\xff\x02\x00\x00\x00",
        _SASL + b"\x00\x00\x00\x1b\x02\x01\x00\x00\x00\x53\x41\xc0\x0e\x03\xa3\x09NO-SUCH-1\x40\x40",
        Peer.opening() + b"\x00\x00\x00\x10\x02\x00\x00\x00\x00\x53\x14\xc0\xff\xff\xff\xff",
        Peer.opening() + b"\x00\x00\x40\x08\x02\x00\x00\x00" + b"\x00" * 16384,
    ],
)
async def test_garbage_closes_the_connection_it_came_on(
    emulator: EmulatorProcess, bystander: None, data: bytes
) -> None:
    """Nothing hangs: the emulator answers, if it can, and closes."""
    await _talk(emulator.port, data)


async def test_random_bytes_by_the_thousand(emulator: EmulatorProcess, bystander: None) -> None:
    """Three hundred short conversations of noise, before and after a good opening."""
    noise = random.Random(7)
    for _ in range(300):
        _, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        writer.write((Peer.opening() if noise.random() < 0.5 else b"") + noise.randbytes(noise.randrange(1, 400)))
        writer.close()


async def test_a_reset_with_a_hundred_locked_messages(emulator: EmulatorProcess, bystander: None) -> None:
    """The locks stay, the messages come to another receiver after they expired."""
    client = ServiceBusClient.from_connection_string(emulator.connection_string)
    async with client.get_queue_sender("short-locks") as sender:
        await sender.send_messages([ServiceBusMessage(str(each)) for each in range(100)])
    receiver = client.get_queue_receiver("short-locks", prefetch_count=100)
    await receiver.receive_messages(max_message_count=1, max_wait_time=5)
    handler: Any = receiver._handler
    transport = handler._connection._transport.writer.transport
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    got: set[str] = set()
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as other,
        other.get_queue_receiver("short-locks", receive_mode="receiveanddelete") as again,
    ):
        while len(got) < 100:
            batch = await again.receive_messages(max_message_count=100, max_wait_time=5)
            assert batch
            got |= {str(message) for message in batch}
    await client.close()


async def test_a_client_that_reads_nothing_costs_a_bounded_buffer(emulator: EmulatorProcess, bystander: None) -> None:
    """It asks for 40 MB and never reads: the emulator keeps a few megabytes for it, and its messages."""
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("premium") as sender,
    ):
        for _ in range(20):
            await sender.send_messages(ServiceBusMessage(os.urandom(2_000_000)))
    before = emulator.resident_bytes
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    opening = bytearray(Peer.opening())
    opening += _attach_receiver("premium")
    writer.write(bytes(opening))
    await asyncio.sleep(2)
    assert emulator.resident_bytes - before < 16_000_000
    writer.transport.abort()
    assert reader is not None
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_receiver("premium", receive_mode="receiveanddelete") as receiver,
    ):
        await receiver.receive_messages(max_message_count=20, max_wait_time=2)


def _attach_receiver(address: str) -> bytes:
    attach = Attach(name="deaf", handle=0, role=True, source=source(address), target=target("me"))
    flow = Flow(
        next_incoming_id=0,
        incoming_window=1 << 20,
        next_outgoing_id=0,
        outgoing_window=1,
        handle=0,
        delivery_count=0,
        link_credit=1 << 20,
    )
    return frame(0, attach.encode()) + frame(0, flow.encode())


async def test_five_hundred_idle_connections(emulator: EmulatorProcess, bystander: None) -> None:
    """They cost little memory, and are forgotten when they go."""
    before = emulator.resident_bytes
    opened = [await asyncio.open_connection("127.0.0.1", emulator.port) for _ in range(500)]
    for _, writer in opened:
        writer.write(Peer.opening())
    for reader, _ in opened:
        assert await asyncio.wait_for(reader.read(8), 5) == _SASL
    assert emulator.status()["connections"] >= 500
    assert emulator.resident_bytes - before < 50_000_000
    for _, writer in opened:
        writer.close()
    for _ in range(100):
        if emulator.status()["connections"] < 10:
            break
        await asyncio.sleep(0.05)
    assert emulator.status()["connections"] < 10


async def test_memory_does_not_grow_with_traffic(emulator: EmulatorProcess, bystander: None) -> None:
    """After a warm-up, ten thousand messages that come and go leave nothing behind."""
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("plain") as sender,
        client.get_queue_receiver("plain", receive_mode="receiveanddelete", prefetch_count=500) as receiver,
    ):

        async def pass_through(count: int) -> None:
            for _ in range(count // 200):
                await sender.send_messages([ServiceBusMessage(b"x" * 1000) for _ in range(200)])
            got = 0
            while got < count:
                got += len(await receiver.receive_messages(max_message_count=500, max_wait_time=5))

        for _ in range(2):
            await pass_through(2000)
        before = emulator.resident_bytes
        for _ in range(5):
            await pass_through(2000)
        assert emulator.resident_bytes - before < 10_000_000


def test_a_taken_port_is_one_clear_line(emulator: EmulatorProcess, tmp_path: Path) -> None:
    """Exit code 2, and the port in the message."""
    second = EmulatorProcess(tmp_path, SERVICE_BUS, "--volatile")
    second.port = emulator.port
    with pytest.raises(RuntimeError, match=str(emulator.port)):
        second.start()
    assert second.stop() == 2


def test_a_wrong_configuration_is_one_clear_line(tmp_path: Path) -> None:
    """The place in the file, the value, and what was expected."""
    config = {
        "UserConfig": {"Namespaces": [{"Name": "n", "Queues": [{"Name": "q", "Properties": {"LockDuration": "1m"}}]}]}
    }
    wrong = EmulatorProcess(tmp_path, config, "--volatile")
    with pytest.raises(RuntimeError, match="LockDuration"):
        wrong.start()
    assert wrong.stop() == 2
    assert wrong.log.count("\n") == 1
