"""Is the emulator cheaper than the SDK that talks to it? Processor time of both, for the same messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from bench.emulator_process import Emulator
from bench.harness import Benchmark

__all__ = ["BENCHMARKS"]

_COUNT = 4000
_BODY = b"x" * 1000


@asynccontextmanager
async def _measuring(emulator: Emulator, ratios: list[float]) -> AsyncIterator[None]:
    """Note the emulator's processor time over the client's for what the block does."""
    before, own = emulator.processor_seconds, time.process_time()
    yield
    client = time.process_time() - own
    ratios.append((emulator.processor_seconds - before) / client)


async def send(sender: Any, count: int = _COUNT) -> None:
    """Send messages of 1 KB in full batches."""
    left = count
    while left:
        batch = await sender.create_message_batch()
        try:
            while left:
                batch.add_message(ServiceBusMessage(_BODY))
                left -= 1
        except ValueError:
            pass
        await sender.send_messages(batch)


async def receive(receiver: Any, count: int = _COUNT) -> None:
    """Receive a hundred at a time and complete each."""
    got = 0
    while got < count:
        messages = await receiver.receive_messages(max_message_count=100, max_wait_time=10)
        await asyncio.gather(*(receiver.complete_message(message) for message in messages))
        got += len(messages)


async def _service_bus(emulator: Emulator, rounds: int, *, measure_sending: bool) -> list[float]:
    ratios: list[float] = []
    skipped: list[float] = []
    async with (
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
        client.get_queue_sender("lane-high") as sender,
        client.get_queue_receiver("lane-high", prefetch_count=100) as receiver,
    ):
        await send(sender, 200)
        await receive(receiver, 200)
        for _ in range(rounds):
            async with _measuring(emulator, ratios if measure_sending else skipped):
                await send(sender)
            async with _measuring(emulator, skipped if measure_sending else ratios):
                await receive(receiver)
    return ratios


async def _send_events(producer: EventHubProducerClient) -> None:
    left = _COUNT
    while left:
        batch = await producer.create_batch(partition_id="0")
        try:
            while left:
                batch.add(EventData(_BODY))
                left -= 1
        except ValueError:
            pass
        await producer.send_batch(batch)


async def _event_hubs(emulator: Emulator, rounds: int, *, measure_sending: bool) -> list[float]:
    ratios: list[float] = []
    skipped: list[float] = []
    seen = 0
    enough = asyncio.Event()
    wanted = 0

    async def take(partition: Any, events: list[Any]) -> None:
        nonlocal seen
        seen += len(events)
        if seen >= wanted:
            enough.set()

    text = emulator.connection_string
    async with EventHubProducerClient.from_connection_string(text, eventhub_name="events") as producer:
        await producer.send_batch([EventData("warm-up")], partition_id="0")
        for number in range(rounds):
            async with _measuring(emulator, ratios if measure_sending else skipped):
                await _send_events(producer)
            if measure_sending:
                continue
            seen, wanted = 0, (number + 1) * _COUNT
            enough.clear()
            async with (
                EventHubConsumerClient.from_connection_string(text, "$Default", eventhub_name="events") as consumer,
                _measuring(emulator, ratios),
            ):
                task = asyncio.create_task(
                    consumer.receive_batch(take, partition_id="0", starting_position="-1", max_batch_size=300)
                )
                await enough.wait()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    return ratios


def _rounds(run: Callable[[Emulator, int], Awaitable[list[float]]]) -> Callable[[int], Iterator[float]]:
    def rounds(count: int) -> Iterator[float]:
        with Emulator("--volatile") as emulator:

            async def measured() -> list[float]:
                return await run(emulator, count)

            yield from asyncio.run(measured())

    return rounds


BENCHMARKS = [
    Benchmark(
        name=f"emulator-cpu-{name}",
        claim=f"processor time of the emulator over that of the client, {what}, 1 KB each",
        goal=1.0,
        better="lower",
        rounds=_rounds(run),
    )
    for name, what, run in (
        ("send", "batched send", lambda emulator, count: _service_bus(emulator, count, measure_sending=True)),
        (
            "receive",
            "receive and complete",
            lambda emulator, count: _service_bus(emulator, count, measure_sending=False),
        ),
        ("event-send", "event batches", lambda emulator, count: _event_hubs(emulator, count, measure_sending=True)),
        ("event-receive", "event reading", lambda emulator, count: _event_hubs(emulator, count, measure_sending=False)),
    )
]
