"""What batches and transactions bring over one message per call, on the same host, broker and storage."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import aiohttp
from azure.data.tables.aio import TableClient
from azure.servicebus.aio import ServiceBusClient

from local.stack.ports import any_free

from .harness import Benchmark
from .lane import fill
from .messages import orders
from .stack import ROOT, emulator, functions_host
from .storage import app_settings, azurite

OURS, THEIRS = 1_280, 192
WARM_UP = 64
LEAD_SECONDS = 4.0
OTHER_FUNCTIONS = ("lane_high", "lane_low", "read_models", "jobs_streams")


async def rate(broker: str, status: str, queue: str, count: int) -> float:
    """Messages per second of whoever listens to the queue, all of them becoming visible at one moment."""
    visible = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS)
    async with ServiceBusClient.from_connection_string(broker) as client:
        await fill(client, queue, orders(), count, visible_at=visible)
    if datetime.now(UTC) > visible:
        raise RuntimeError("sending took longer than the messages were hidden")
    await asyncio.sleep((visible - datetime.now(UTC)).total_seconds())
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        while await _left(session, status, queue):  # noqa: ASYNC110 - the broker tells nobody when a queue is empty
            await asyncio.sleep(0.05)
    return count / (time.perf_counter() - started)


async def _left(session: aiohttp.ClientSession, status: str, queue: str) -> int:
    async with session.get(f"{status}/status.json") as answer:
        counts = (await answer.json())["queues"][queue]
    return int(counts["active"] + counts["locked"] + counts["scheduled"])


async def _make_table(storage: str) -> None:
    async with TableClient.from_connection_string(storage, "obvious") as table:
        await table.create_table()


def _compare(rounds: int, clients: str) -> Iterator[float]:
    with ExitStack() as stack:
        port = any_free()
        broker = stack.enter_context(emulator("--volatile", f"--admin-port={port}"))
        storage = stack.enter_context(azurite())
        asyncio.run(_make_table(storage))
        settings = app_settings(storage=storage, broker=broker) | {
            "OBVIOUS_CLIENTS": clients,
            **{f"AzureWebJobs.{name}.Disabled": "true" for name in OTHER_FUNCTIONS},
        }
        stack.enter_context(functions_host(ROOT, settings))
        stack.enter_context(functions_host(ROOT / "bench" / "obvious_worker", settings))
        status = f"http://127.0.0.1:{port}"
        ours, theirs = settings["SLUICE_LANE_NORMAL"], settings["SLUICE_LANE_LOW"]
        for queue in (ours, theirs):
            asyncio.run(rate(broker, status, queue, WARM_UP))
        for _ in range(rounds):
            yield asyncio.run(rate(broker, status, ours, OURS)) / asyncio.run(rate(broker, status, theirs, THEIRS))


BENCHMARKS = [
    Benchmark(
        name="worker-obvious",
        claim="messages per second / those of a function with one message per call, one insert, one event, and clients "
        "of its own",
        goal=10.0,
        better="higher",
        rounds=lambda rounds: _compare(rounds, "per-call"),
    ),
    Benchmark(
        name="worker-obvious-tuned",
        claim="the same / that function with clients that stay open",
        goal=1.0,
        better="higher",
        rounds=lambda rounds: _compare(rounds, "shared"),
    ),
]
