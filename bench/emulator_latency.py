"""How long a start takes, and which part of a hop through the SDK is spent in the emulator."""

import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TypeVar

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from bench.emulator_process import Emulator
from bench.harness import Benchmark
from bench.stack import ROOT
from local.stack.ports import any_free
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.frames import AMQP_HEADER, SASL_FRAME, SASL_HEADER, FrameReader, frame
from local_azure.broker.amqp.outcomes import ACCEPTED
from local_azure.broker.amqp.performatives import (
    Attach,
    Begin,
    Disposition,
    Flow,
    Open,
    SaslInit,
    Terminus,
    Transfer,
    decode_performative,
)
from local_azure.broker.amqp.types import Described, Raw, ULong

__all__ = ["BENCHMARKS"]

T = TypeVar("T")

_HOPS = 60
_BODY = b"x" * 1000
_QUEUE = "lane-normal"


class _Socket:
    """A client with nothing but the protocol, so that what it measures is the emulator's time."""

    def __init__(self, port: int, *, receives: bool) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        node = Terminus(Raw(encode(Described(ULong(0x28 if receives else 0x29), [_QUEUE]))), _QUEUE)
        me = Terminus(Raw(encode(Described(ULong(0x29 if receives else 0x28), ["me"]))), "me")
        attach = Attach(
            name="bench",
            handle=0,
            role=receives,
            snd_settle_mode=0,
            source=node if receives else me,
            target=me if receives else node,
            initial_delivery_count=None if receives else 0,
        )
        self._reader = FrameReader(1 << 20)
        self._send(SASL_HEADER + frame(0, SaslInit(mechanism="ANONYMOUS").encode(), SASL_FRAME) + AMQP_HEADER)
        self._send(frame(0, Open(container_id="bench").encode()))
        self._send(frame(0, Begin(next_outgoing_id=0, incoming_window=1 << 20, outgoing_window=1 << 20).encode()))
        self._send(frame(0, attach.encode()))
        self._skip_headers()
        if receives:
            self._send(frame(0, _credit().encode()))
        else:
            self.wait_for(Flow)
        self._next = 0

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _skip_headers(self) -> None:
        received = b""
        while AMQP_HEADER not in received:
            received += self._socket.recv(65536)
        self._reader.feed(received.partition(AMQP_HEADER)[2])

    def wait_for(self, kind: type[T]) -> T:
        """Read until a performative of a kind has come."""
        while True:
            while (found := self._reader.next_frame()) is not None:
                performative, _ = decode_performative(found.data, found.start, found.end)
                if isinstance(performative, kind):
                    return performative
            self._reader.feed(self._socket.recv(65536))

    def send(self, message: bytes) -> None:
        """Send one message."""
        transfer = Transfer(handle=0, delivery_id=self._next, delivery_tag=b"%d" % self._next, settled=False)
        self._next += 1
        self._send(frame(0, transfer.encode() + message))

    def complete(self, transfer: Transfer) -> None:
        """Settle one message, and wait until that is confirmed: the emulator is idle again."""
        settled = Disposition(role=True, first=transfer.delivery_id or 0, settled=False, state=Raw(ACCEPTED))
        self._send(frame(0, settled.encode()))
        self.wait_for(Disposition)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _credit() -> Flow:
    return Flow(
        next_incoming_id=0,
        incoming_window=1 << 20,
        next_outgoing_id=0,
        outgoing_window=1 << 20,
        handle=0,
        delivery_count=0,
        link_credit=100_000,
    )


def _inside(emulator: Emulator) -> float:
    """Median seconds from the sending socket to the receiving one."""
    sender, receiver = _Socket(emulator.port, receives=False), _Socket(emulator.port, receives=True)
    message = encode(Described(ULong(0x75), _BODY))
    times = []
    for _ in range(_HOPS):
        began = time.perf_counter()
        sender.send(message)
        transfer = receiver.wait_for(Transfer)
        times.append(time.perf_counter() - began)
        sender.wait_for(Disposition)
        receiver.complete(transfer)
        time.sleep(0.002)  # an idle emulator is what is measured
    sender.close()
    receiver.close()
    return statistics.median(times)


def _relayed() -> float:
    """The same for a bare relay, which costs the sockets and wake-ups and nothing else."""
    command = [sys.executable, "-m", "bench.emulator_latency"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with (
        socket.create_connection(("127.0.0.1", port)) as sender,
        socket.create_connection(("127.0.0.1", port)) as receiver,
    ):
        times = []
        for _ in range(_HOPS + 1):
            began = time.perf_counter()
            sender.sendall(_BODY)
            received = 0
            while received < len(_BODY):
                received += len(receiver.recv(65536))
            times.append(time.perf_counter() - began)
            time.sleep(0.002)
    process.wait(10)
    return statistics.median(times[1:])


async def _relay() -> None:
    """Pass on what the first connection sends to the second, until one of them closes."""
    connected: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    both = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append((reader, writer))
        if len(connected) == 2:
            both.set()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await both.wait()
    while data := await connected[0][0].read(65536):
        connected[1][1].write(data)
    server.close()


async def _hop(emulator: Emulator) -> float:
    """Median seconds from `send_messages` to the message in hand, through the SDK."""
    times = []
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender(_QUEUE) as sender,
        client.get_queue_receiver(_QUEUE) as receiver,
    ):
        for _ in range(_HOPS):
            began = time.perf_counter()
            receiving = asyncio.create_task(receiver.receive_messages(max_wait_time=5))
            await sender.send_messages(ServiceBusMessage(_BODY))
            (message,) = await receiving
            times.append(time.perf_counter() - began)
            await receiver.complete_message(message)
    return statistics.median(times)


def _hops(count: int) -> Iterator[float]:
    with Emulator() as emulator:
        for _ in range(count):
            yield (_inside(emulator) - _relayed()) / asyncio.run(_hop(emulator))


def _starts(count: int) -> Iterator[float]:
    """Seconds until the first connection is accepted."""
    for _ in range(count):
        port = any_free()
        with Emulator(f"--port={port}", wait=False) as emulator:
            while not _accepts(port):
                time.sleep(0.002)
            yield time.perf_counter() - emulator.began
            emulator.wait_until_ready()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


BENCHMARKS = [
    Benchmark(
        name="emulator-hop",
        claim="time a message spends in an idle, durable emulator (a raw hop less the same hop through a bare relay)"
        " over a hop from send to receive through the SDK",
        goal=0.2,
        better="lower",
        rounds=_hops,
    ),
    Benchmark(
        name="emulator-start",
        claim="seconds from start to the first accepted connection",
        goal=1.0,
        better="lower",
        rounds=_starts,
    ),
]

if __name__ == "__main__":
    asyncio.run(_relay())
