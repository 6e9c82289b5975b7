"""Whether high stays fast while low has a mountain of work, and low moves while high is saturated."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID

import aiohttp
from azure.data.tables.aio import TableClient
from azure.servicebus.aio import ServiceBusClient

from local.stack.ports import any_free
from shared.messages import Lane
from shared.sending import command

from .harness import Benchmark
from .lane import fill
from .messages import orders
from .stack import ROOT, emulator, functions_host
from .storage import app_settings, azurite

WAITING = 50_000
HIGH_MESSAGES = 200
HIGH_PER_SECOND = 20
SETTLE_SECONDS = 3.0
WARM_UP = 40
SATURATING = 4_000
SHARE_SECONDS = 15.0
QUIET = ("read_models", "jobs_streams")


class _Stack:
    """A broker and a storage that outlive the hosts that are measured."""

    def __init__(self, stack: ExitStack) -> None:
        port = any_free()
        self.broker = stack.enter_context(emulator("--volatile", f"--admin-port={port}"))
        self.storage = stack.enter_context(azurite())
        self.status = f"http://127.0.0.1:{port}/status.json"
        self.settings = app_settings(storage=self.storage, broker=self.broker)

    def without(self, *functions: str) -> dict[str, str]:
        """The settings with some functions disabled."""
        return self.settings | {f"AzureWebJobs.{name}.Disabled": "true" for name in functions}

    async def waiting(self, queue: str) -> int:
        """Messages in a queue."""
        async with aiohttp.ClientSession() as session, session.get(self.status) as answer:
            return int((await answer.json())["queues"][queue]["active"])

    async def add(self, queue: str, lane: Lane, count: int) -> None:
        """Put orders into a queue."""
        async with ServiceBusClient.from_connection_string(self.broker) as client:
            await fill(client, queue, orders(lane=lane), count)


async def _high_p99(stack: _Stack, count: int = HIGH_MESSAGES) -> float:
    """Seconds from acceptance to processing, for messages that come at a steady pace."""
    sent: set[UUID] = set()
    samples = orders(lane=Lane.HIGH)
    loop = asyncio.get_running_loop()
    client = ServiceBusClient.from_connection_string(stack.broker)
    async with client, client.get_queue_sender(stack.settings["SLUICE_LANE_HIGH"]) as sender:
        began = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / HIGH_PER_SECOND - loop.time()))
            sample = next(samples)
            await sender.send_messages(command(sample.headers, sample.body))
            sent.add(sample.headers.message_id)
    while await stack.waiting(stack.settings["SLUICE_LANE_HIGH"]):  # noqa: ASYNC110 - the broker doesn't tell
        await asyncio.sleep(0.1)
    return await _p99(stack.storage, sent)


async def _p99(storage: str, sent: set[UUID]) -> float:
    wanted = {f"inbox:{message_id}" for message_id in sent}
    seconds: list[float] = []
    async with TableClient.from_connection_string(storage, "state") as table:
        query = "RowKey ge 'inbox:' and RowKey lt 'inbox;' and lane eq 'high'"
        async for row in table.query_entities(query, select=["RowKey", "acceptedAt", "processedAt"]):
            if row["RowKey"] in wanted:
                seconds.append((row["processedAt"] - row["acceptedAt"]).total_seconds())
    if len(seconds) != len(sent):
        raise RuntimeError(f"{len(seconds)} of {len(sent)} high messages were processed")
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]


def _latency(rounds: int) -> Iterator[float]:
    with ExitStack() as parts:
        stack = _Stack(parts)
        low = stack.settings["SLUICE_LANE_LOW"]
        asyncio.run(stack.add(low, Lane.LOW, WAITING))
        for _ in range(rounds):
            with functions_host(ROOT, stack.without(*QUIET, "lane_low")):  # the mountain is there, nobody works on it
                asyncio.run(_warm(stack))
                idle = asyncio.run(_high_p99(stack))
            with functions_host(ROOT, stack.without(*QUIET)):
                asyncio.run(_warm(stack))
                loaded = asyncio.run(_high_p99(stack))
            asyncio.run(stack.add(low, Lane.LOW, WAITING - asyncio.run(stack.waiting(low))))
            yield loaded / idle


async def _warm(stack: _Stack) -> None:
    """Links are open, code has run, and low is at work."""
    await asyncio.sleep(SETTLE_SECONDS)
    await _high_p99(stack, WARM_UP)


def _share(rounds: int) -> Iterator[float]:
    with ExitStack() as parts:
        stack = _Stack(parts)
        queues = {Lane.HIGH: stack.settings["SLUICE_LANE_HIGH"], Lane.LOW: stack.settings["SLUICE_LANE_LOW"]}
        for _ in range(rounds):
            for lane, queue in queues.items():
                asyncio.run(stack.add(queue, lane, SATURATING - asyncio.run(stack.waiting(queue))))
            with functions_host(ROOT, stack.without(*QUIET)):
                asyncio.run(asyncio.sleep(SETTLE_SECONDS))
                before = {lane: asyncio.run(stack.waiting(queue)) for lane, queue in queues.items()}
                asyncio.run(asyncio.sleep(SHARE_SECONDS))
                done = {lane: before[lane] - asyncio.run(stack.waiting(queue)) for lane, queue in queues.items()}
            yield done[Lane.LOW] / (done[Lane.LOW] + done[Lane.HIGH])


BENCHMARKS = [
    Benchmark(
        name="lanes-latency",
        claim=f"p99 of high while {WAITING:,} low messages wait and are worked on / its p99 on an idle system",
        goal=1.5,
        better="lower",
        rounds=_latency,
    ),
    Benchmark(
        name="lanes-share",
        claim="messages of low / all messages done while high is saturated",
        goal=0.1,
        better="higher",
        rounds=_share,
    ),
]
