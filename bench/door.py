"""What stands before a command's endpoint, beside bare FastAPI on the same validated POST; and what shedding saves."""

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from itertools import islice
from random import random
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.door import Door
from integrations.orders.models import Order
from shared.authentication import ApiKeys, Authenticator, api_key_entry
from shared.http import PRODUCERS, AdaptiveLimit, Observed, OverloadWatch, Route, RouteTable, ShedPolicy
from shared.limits import Limiter, Plans, Surroundings, TableBlocks, TableUsage, UsageMeter
from shared.tables import MemoryTable

from .harness import Benchmark
from .messages import orders

COUNT = 2_000
KEYS = 20
KEY = "k" * 43
PLANS = {"default": "a", "plans": {"a": {"rate": 100_000, "routes": {"POST /orders": {"rate": 50_000}}}}}
ANSWER = b'{"status":"accepted"}'


async def _accepts(scope: Scope, receive: Receive, send: Send) -> None:
    """An endpoint that does nothing."""
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ANSWER})


def _bare() -> ASGIApp:
    app = FastAPI()

    @app.post("/api/orders", status_code=202)
    async def place(order: Order) -> dict[str, str]:
        return {"status": "accepted"}

    return app


async def _nothing(_: Request) -> JSONResponse:
    raise AssertionError


def _before(app: ASGIApp) -> tuple[ASGIApp, UsageMeter]:
    def now() -> datetime:
        return datetime.now(UTC)

    table = MemoryTable()
    around = Surroundings(TableBlocks(table, now=now), instances=10, clock=time.monotonic, random=random)
    meter = UsageMeter(TableUsage(table), instance="bench", now=now)
    names = [f"client-{number}" for number in range(KEYS)]
    entries = [json.loads(api_key_entry(name, f"{number:02d}{KEY}", ["producer"])) for number, name in enumerate(names)]
    keys = ApiKeys.parse(json.dumps(entries))

    async def known() -> ApiKeys:
        return keys

    door = Door(limits=(Limiter(Plans.parse(json.dumps(PLANS)), around, now=now), meter))
    table_of_routes = RouteTable([Route(method="POST", path="orders", endpoint=_nothing, access=PRODUCERS)])
    guarded = door.before(app, table_of_routes, authenticate=Authenticator(None, known).caller, now=now)
    return Observed(guarded, now=now), meter


async def _post(app: ASGIApp, body: bytes) -> int:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/api/orders",
        "raw_path": b"/api/orders",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-api-key", f"07{KEY}".encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 443),
    }
    await app(scope, receive, send)
    return statuses[0]


async def _shares(rounds: int) -> list[float]:
    bodies = [one.body.partition(b'"data":')[2][:-1] for one in islice(orders(), 200)]
    (before, meter), bare = _before(_accepts), _bare()

    async def seconds(app: ASGIApp) -> float:
        began = time.process_time()
        for number in range(COUNT):
            status = await _post(app, bodies[number % len(bodies)])
            assert status == 202, status
        return time.process_time() - began

    found = []
    for app in (before, bare, _accepts):
        await seconds(app)
    for _ in range(rounds):
        fastapi, whole, nothing = await seconds(bare), await seconds(before), await seconds(_accepts)
        found.append((whole - nothing) / fastapi)
    await meter.close()
    return found


WORK, STORE = 0.005, 0.005
PATIENCE = 1.0
TIMES, SECONDS = 3.0, 3.0
"""Requests come three times as often as they can be served."""


async def _works(scope: Scope, receive: Receive, send: Send) -> None:
    """An endpoint that takes some processor time, and waits for a store."""
    await asyncio.sleep(STORE)
    ends = time.process_time() + WORK
    while time.process_time() < ends:
        pass
    await _accepts(scope, receive, send)


class _OwnTime(asyncio.SelectorEventLoop):
    """Its time is the processor time that it used: other work of the machine takes nothing of the clients' patience."""

    def time(self) -> float:
        """Seconds."""
        return time.process_time()


def own_time(work: Coroutine[Any, Any, float]) -> float:
    """Run by that time."""
    with asyncio.Runner(loop_factory=_OwnTime) as runner:
        return runner.run(work)


async def in_time(policy: ShedPolicy | None) -> float:
    """The share of what could be served that is served before its client gives up."""
    watch = None
    if policy is not None:
        watch = OverloadWatch(AdaptiveLimit(policy, clock=time.process_time), waiting=lambda: 0)
    door = Door(overload=watch)
    app = Observed(
        door.before(_works, RouteTable([]), authenticate=None, now=lambda: datetime.now(UTC)),
        now=lambda: datetime.now(UTC),
    )
    answered = 0

    async def request(at: float) -> None:
        nonlocal answered
        status = await _post(app, b"{}")
        answered += status == 202 and time.process_time() - at <= PATIENCE

    begun = time.process_time()
    tasks = set()
    number = 0
    while (now := time.process_time()) < begun + SECONDS:
        while begun + number * WORK / TIMES <= now:
            tasks.add(asyncio.create_task(request(begun + number * WORK / TIMES)))
            number += 1
        await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if watch is not None:
        await watch.close()
    return answered / (SECONDS / WORK)


def _before_the_endpoint(rounds: int) -> Iterator[float]:
    yield from asyncio.run(_shares(rounds))


def _under_overload(rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        yield own_time(in_time(ShedPolicy())) / max(0.01, own_time(in_time(None)))


BENCHMARKS = [
    Benchmark(
        name="door",
        claim="CPU of caller check, rate limit, usage, correlation and metrics / bare FastAPI's on the same POST",
        goal=0.3,
        better="lower",
        rounds=_before_the_endpoint,
    ),
    Benchmark(
        name="overload",
        claim="answers in time at three times the load that can be served, shedding / not shedding",
        goal=1.5,
        better="higher",
        rounds=_under_overload,
    ),
]
