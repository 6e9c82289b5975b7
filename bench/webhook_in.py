"""What a webhook costs from its request to its lane, beside a plain POST of the same order."""

import asyncio
import base64
import hmac
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from starlette.types import ASGIApp, Message

import integrations
from functions.composition import CAPABILITIES, Composition
from functions.composition.api import gathered_app
from functions.composition.secrets import secret_cache
from functions.composition.sending import lane_senders
from integrations.orders.models import Order
from shared.messages import Headers, Integration, Registry, discover
from shared.secrets import Policy, Secret, SecretCache, Version
from shared.settings import Settings
from shared.work import Work

from .dispatch import NOWHERE
from .harness import Benchmark
from .messages import orders
from .stack import sample_settings

COUNT = 400
SECRET = "an example secret"


class _NoBroker:
    """Takes what is sent, and forgets it."""

    async def send(self, headers: Headers, body: bytes) -> None:
        """Taken."""


class _OneSecret:
    """A vault in which everything is the example."""

    async def read(self, name: str, version: str | None) -> Secret:
        """The one version."""
        return Secret(name, SECRET, "1", datetime(2026, 1, 1, tzinfo=UTC))

    async def versions(self, name: str) -> Sequence[Version]:
        """The one version."""
        return [Version("1", datetime(2026, 1, 1, tzinfo=UTC))]

    async def close(self) -> None:
        """Nothing is open."""


def _app() -> ASGIApp:
    shop = Integration("shop")

    @shop.webhook("shopify", topic="orders/create", key="orderId")
    async def created(order: Order, work: Work) -> None:
        """Nobody calls it here."""

    storage = dict.fromkeys(("State", "Claims"), "UseDevelopmentStorage=true")
    broker = {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_AUTH": "none"}
    settings = Settings.load(sample_settings() | storage | broker)
    registry = Registry([*discover(integrations).integrations, shop])
    secrets = SecretCache(_OneSecret(), Policy())
    composition = Composition(settings, registry, parts={lane_senders: _NoBroker(), secret_cache: secrets})
    return gathered_app(composition, [make(composition) for make in CAPABILITIES])


async def _post(app: ASGIApp, path: str, body: bytes, headers: dict[str, str]) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) in (200, 202), message

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 443),
    }
    await app(scope, receive, send)


async def _measure(rounds: int) -> list[float]:
    app = _app()
    bodies = [one.body.partition(b'"data":')[2][:-1] for one in islice(orders(), COUNT)]
    common = {"content-type": "application/json", "host": "localhost"}
    plain = [(body, common | {"content-length": str(len(body))}) for body in bodies]
    signed = [
        (
            body,
            headers
            | {
                "x-shopify-hmac-sha256": base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode(),
                "x-shopify-topic": "orders/create",
                "x-shopify-webhook-id": f"delivery-{number}",
            },
        )
        for number, (body, headers) in enumerate(plain)
    ]

    async def seconds(path: str, requests: Sequence[tuple[bytes, dict[str, str]]]) -> float:
        started = time.process_time()
        for body, headers in requests:
            await _post(app, path, body, headers)
        return time.process_time() - started

    sides = (("/api/orders", plain), ("/api/webhooks/shopify", signed))
    for path, requests in sides:
        await seconds(path, requests)
    found = []
    for _ in range(rounds):
        post, webhook = [await seconds(path, requests) for path, requests in sides]
        found.append(post / webhook)
    return found


def _rounds(rounds: int) -> Iterator[float]:
    yield from asyncio.run(_measure(rounds))


BENCHMARKS = [
    Benchmark(
        name="webhook-in",
        claim="webhooks a second of processor time, verified and handed to their lane / plain POSTs of the same orders",
        goal=0.8,
        better="higher",
        rounds=_rounds,
    )
]
