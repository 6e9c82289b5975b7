"""What a bulk costs beside the SDK alone: validated, addressed, answered line by line, against a bare batched send."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from uuid import uuid4

import aiohttp
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import MessageSizeExceededError

from shared.authentication import api_key_entry

from .harness import Benchmark
from .stack import ROOT, emulator, functions_host, sample_settings

LINES = 10_000
QUEUE = "lane-normal"


def _orders() -> list[bytes]:
    lines = [{"sku": f"{10_000 + n}", "description": "LANTERN", "quantity": 6, "unitPrice": 2.55} for n in range(5)]
    order = {"placedAt": "2026-01-01T10:00:00Z", "customerId": "17850", "country": "France", "lines": lines}
    return [json.dumps({"orderId": str(uuid4()), **order}).encode() for _ in range(LINES)]


async def _bulk_seconds(url: str, key: str, orders: Sequence[bytes]) -> float:
    """From the request to the answer of the last message."""
    headers = {"Content-Type": "application/x-ndjson", "x-api-key": key}
    accepted, seconds = 0, 0.0
    began = time.perf_counter()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=b"\n".join(orders), headers=headers) as answer,
    ):
        async for line in answer.content:
            if b'"status":202' in line:
                accepted, seconds = accepted + 1, time.perf_counter() - began
    if accepted != len(orders):
        raise RuntimeError(f"{url} accepted {accepted} of {len(orders)}")
    return seconds


async def _bare_seconds(broker: str, orders: Sequence[bytes]) -> float:
    """As its documentation shows: batch after batch, each as full as it may be."""
    async with ServiceBusClient.from_connection_string(broker) as client, client.get_queue_sender(QUEUE) as sender:
        batch = await sender.create_message_batch()  # the link is open
        began = time.perf_counter()
        for order in orders:
            message = ServiceBusMessage(order, message_id=str(uuid4()), content_type="application/json")
            try:
                batch.add_message(message)
            except MessageSizeExceededError:
                await sender.send_messages(batch)
                batch = await sender.create_message_batch()
                batch.add_message(message)
        await sender.send_messages(batch)
        return time.perf_counter() - began


def _rounds(rounds: int) -> Iterator[float]:
    key = secrets.token_urlsafe(32)
    declared = json.loads((ROOT / "infra" / "declarations.json").read_text())["functions"]
    with ExitStack() as stack:
        broker = stack.enter_context(emulator(f"--data-dir={stack.enter_context(TemporaryDirectory())}"))
        settings = sample_settings() | {
            "ServiceBus": broker,
            "EventHubs": broker,
            "State": "UseDevelopmentStorage=true",
            "Claims": "UseDevelopmentStorage=true",
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "SLUICE_OPERATION_KEY": "-" * 40,
            "SLUICE_AUTH": "required",
            "SLUICE_API_KEYS": f"[{api_key_entry('bench', key, ['producer'])}]",
            **{f"AzureWebJobs.{one['name']}.Disabled": "true" for one in declared if one["name"] != "api"},
        }
        url = stack.enter_context(functions_host(ROOT, settings)) + "/api/orders/bulk"
        asyncio.run(_bulk_seconds(url, key, _orders()[:500]))  # links open, code warms up
        for _ in range(rounds):
            orders = _orders()
            bare = asyncio.run(_bare_seconds(broker, orders))
            yield bare / asyncio.run(_bulk_seconds(url, key, orders))


BENCHMARKS = [
    Benchmark(
        name="bulk",
        claim=f"orders per second of a bulk of {LINES} / those of the bare SDK's batched send of the same bodies",
        goal=0.8,
        better="higher",
        rounds=_rounds,
    )
]
