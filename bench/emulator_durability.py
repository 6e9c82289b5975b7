"""What durability costs: throughput with storage over throughput without, and memory for messages that wait."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from azure.servicebus.aio import ServiceBusClient

from bench.emulator_process import Emulator
from bench.emulator_processor_time import receive, send
from bench.harness import Benchmark

__all__ = ["BENCHMARKS"]

_COUNT = 4000
_WAITING = 20_000
_BODY_BYTES = 1000


async def _seconds(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _round(emulator: Emulator) -> tuple[float, float]:
    """Seconds for sending, and for receiving and completing."""
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("lane-high") as sender,
        client.get_queue_receiver("lane-high", prefetch_count=100) as receiver,
    ):
        await send(sender, 200)
        await receive(receiver, 200)
        return await _seconds(send(sender, _COUNT)), await _seconds(receive(receiver, _COUNT))


def _throughput(which: int) -> Callable[[int], Iterator[float]]:
    def rounds(count: int) -> Iterator[float]:
        with Emulator() as durable, Emulator("--volatile") as volatile:
            for _ in range(count):
                plain = asyncio.run(_round(volatile))
                kept = asyncio.run(_round(durable))
                yield plain[which] / kept[which]

    return rounds


async def _fill(emulator: Emulator) -> None:
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("lane-low") as sender,
    ):
        await send(sender, _WAITING)


def _memory(count: int) -> Iterator[float]:
    """Bytes per waiting message beyond its body."""
    for _ in range(count):
        with Emulator() as emulator:
            asyncio.run(_warm_up(emulator))
            before = emulator.resident_bytes
            asyncio.run(_fill(emulator))
            yield (emulator.resident_bytes - before) / _WAITING - _BODY_BYTES


async def _warm_up(emulator: Emulator) -> Any:
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("lane-low") as sender,
    ):
        await send(sender, 1000)


BENCHMARKS = [
    Benchmark(
        name="emulator-durable-send",
        claim="batched sends a second, durable over volatile",
        goal=0.7,
        better="higher",
        rounds=_throughput(0),
    ),
    Benchmark(
        name="emulator-durable-receive",
        claim="messages received and completed a second, durable over volatile",
        goal=0.7,
        better="higher",
        rounds=_throughput(1),
    ),
    Benchmark(
        name="emulator-memory",
        claim="bytes of memory for a waiting message of 1 KB beyond its body, durable",
        goal=2048,
        better="lower",
        rounds=_memory,
    ),
]
