"""What sharing a batch between concurrent requests brings over one send per request."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from uuid import uuid4

import aiohttp

from shared.authentication import api_key_entry

from .harness import Benchmark
from .stack import ROOT, distant, emulator, functions_host, sample_settings

CLIENTS = 64
SECONDS = 4.0
DISTANCE_MS = 5.0
OTHER_FUNCTIONS = ("lane_high", "lane_normal", "lane_low", "read_models", "jobs_streams")


def _order() -> bytes:
    lines = [{"sku": f"{10_000 + n}", "description": "LANTERN", "quantity": 6, "unitPrice": 2.55} for n in range(11)]
    order = {"orderId": str(uuid4()), "placedAt": "2026-01-01T10:00:00Z", "customerId": "17850", "country": "France"}
    return json.dumps(order | {"lines": lines}).encode()


async def _requests_per_second(url: str, seconds: float, key: str) -> float:
    """64 clients, each with one request at a time."""
    done = 0
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while time.perf_counter() < end:
            async with session.post(
                url, data=_order(), headers={"Content-Type": "application/json", "x-api-key": key}
            ) as answer:
                await answer.read()
                if answer.status != 202:
                    raise RuntimeError(f"{url} answered {answer.status}")
                done += 1

    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        started = time.perf_counter()
        for _ in range(CLIENTS):
            tasks.create_task(client(session))
    return done / (time.perf_counter() - started)


def _compare(rounds: int, written: str, milliseconds: float) -> Iterator[float]:
    key = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        broker = stack.enter_context(emulator(f"--data-dir={stack.enter_context(TemporaryDirectory())}"))
        if milliseconds:
            broker = stack.enter_context(distant(broker, milliseconds))
        settings = sample_settings() | {
            "ServiceBus": broker,
            "EventHubs": broker,
            "State": "UseDevelopmentStorage=true",
            "Claims": "UseDevelopmentStorage=true",
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "SLUICE_OPERATION_KEY": "-" * 40,
            "SLUICE_AUTH": "required",
            "SLUICE_API_KEYS": f"[{api_key_entry('bench', key, ['producer'])}]",
            "OBVIOUS_SENDER": written,
            **{f"AzureWebJobs.{name}.Disabled": "true" for name in OTHER_FUNCTIONS},
        }
        ours = stack.enter_context(functions_host(ROOT, settings)) + "/api/orders"
        obvious = stack.enter_context(functions_host(ROOT / "bench" / "obvious", settings)) + "/api/orders"
        for url in (ours, obvious):
            asyncio.run(_requests_per_second(url, 1.0, key))  # links open, code warms up
        for _ in range(rounds):
            mine = asyncio.run(_requests_per_second(ours, SECONDS, key))
            yield mine / asyncio.run(_requests_per_second(obvious, SECONDS, key))


BENCHMARKS = [
    Benchmark(
        name="coalescing",
        claim=f"POSTs per second at {CLIENTS} clients / those of FastAPI with a sender and a send per request",
        goal=3.0,
        better="higher",
        rounds=lambda rounds: _compare(rounds, "per-request", 0),
    ),
    Benchmark(
        name="coalescing-tuned",
        claim=f"the same / FastAPI taking turns on one open sender, the broker {DISTANCE_MS:g} ms away as in Azure",
        goal=3.0,
        better="higher",
        rounds=lambda rounds: _compare(rounds, "locked", DISTANCE_MS),
    ),
]
