"""What a webhook to others costs, beside aiohttp alone with the same signature; and bad receivers beside good ones."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import quantiles

import aiohttp

from shared.messages import CloudEvent, Contract, Integration, Registry
from shared.subscriptions import (
    AddressPolicy,
    Answer,
    Credentials,
    Deliverer,
    Deliveries,
    Delivery,
    Endpoints,
    HttpSender,
    Payloads,
    Sender,
    Subscription,
    SubscriptionStore,
    Wake,
    signed_headers,
)
from shared.tables import MemoryTable, Operation

from .harness import Benchmark
from .partner_call import SERVER

SIDE_BY_SIDE = 32
EVENTS = 1_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
shop = Integration("shop")


class _Sold(Contract):
    item: str


@shop.projects("shop.sold", into="sales")
def _sale(sold: _Sold) -> _Sold:
    return sold


class _NoTable(MemoryTable):
    """Takes rows, and forgets them: a table's own work is no part of this."""

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """Taken."""
        return [None] * len(operations)


class _Queue:
    """What is put off comes again after a while that isn't waited for here."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Wake] = asyncio.Queue()

    async def send(self, wake: Wake, *, when: datetime | None = None) -> None:
        """Keep it."""
        seconds = 0.0 if when is None else (when - datetime.now(UTC)).total_seconds()
        asyncio.get_running_loop().call_later(max(0.0, seconds), self.waiting.put_nowait, wake)


def _events(count: int) -> list[CloudEvent]:
    return [
        CloudEvent(
            id=f"e-{number}",
            type="shop.sold",
            source="/sluice",
            subject=f"i-{number}",
            time=NOW,
            version="1.0",
            data=f'{{"item":"{number}"}}',
            correlation_id="c",
            sequence=number,
        )
        for number in range(count)
    ]


def _subscription(identity: str, url: str) -> Subscription:
    return Subscription(
        id=identity,
        owner="a",
        url=url,
        event_types=("shop.sold",),
        secrets=(SECRET,),
        concurrency=SIDE_BY_SIDE,
        created_at=NOW,
        changed_at=NOW,
    )


def _deliverer(store: SubscriptionStore, sender: Sender, queue: _Queue) -> Deliverer:
    def now() -> datetime:
        return datetime.now(UTC)

    return Deliverer(
        store,
        Deliveries(_NoTable("deliveries"), now=now),
        queue,
        Payloads(Registry([shop]), None, largest=65_536),
        sender,
        Endpoints(lambda *_: None, clock=time.monotonic),  # type: ignore[arg-type]
        Credentials(sender, None, clock=time.monotonic),
        now=now,
        clock=time.monotonic,
        random=random.random,
    )


async def _round(url: str) -> float:
    store = SubscriptionStore(MemoryTable("subscriptions"), None, clock=time.monotonic)
    await store.create(_subscription("s", url))
    sender = HttpSender(AddressPolicy(local=True), seconds=30)
    deliverer = _deliverer(store, sender, _Queue())
    events = _events(EVENTS)
    bodies = [one.to_json() for one in events]
    wakes = [
        Wake(owner="a", subscription="s", delivery=Delivery.of("s", one, "", now=NOW).id, event=body)
        for one, body in zip(events, bodies, strict=True)
    ]
    async with aiohttp.ClientSession() as session:

        async def bare(numbers: range) -> None:
            for number in numbers:
                headers = signed_headers(f"msg_{number}", bodies[number], [SECRET], now=datetime.now(UTC))
                async with session.post(url, data=bodies[number], headers=headers) as answer:
                    await answer.read()

        async def ours(numbers: range) -> None:
            for number in numbers:
                await deliverer.deliver(wakes[number], again=False)

        async def seconds(side: object) -> float:
            began = time.process_time()
            await asyncio.gather(*(side(range(start, EVENTS, SIDE_BY_SIDE)) for start in range(SIDE_BY_SIDE)))  # type: ignore[operator]
            return time.process_time() - began

        for number in range(SIDE_BY_SIDE):  # a receiver that nobody knows gets few places
            await ours(range(number, number + 1))
        times = [(await seconds(bare), await seconds(ours)) for _ in range(3)]
    await sender.close()
    return min(one for one, _ in times) / min(two for _, two in times)


def _rounds(count: int) -> Iterator[float]:
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
        for _ in range(count):
            yield asyncio.run(_round(url))
    finally:
        server.kill()
        server.wait()


class _Scripted:
    """Receivers by the first part of their path: how long each takes, and what it answers."""

    def __init__(self) -> None:
        self.got: dict[str, list[float]] = {}

    async def post(self, url: str, body: bytes, headers: object, **_: object) -> Answer:
        """An answer of its kind."""
        kind = url.rpartition("/")[2].partition("-")[0]
        wait, status = {"fast": (0.01, 200), "slow": (5.0, 200), "dead": (0.001, None), "silent": (10.0, None)}[kind]
        await asyncio.sleep(wait)
        self.got.setdefault(url, []).append(time.monotonic())
        return Answer(status=status, seconds=wait, headers={}, problem="" if status else "no connection")

    async def close(self) -> None:
        """Nothing is open."""


PLACES = 64
"""What the host runs side by side: `maxConcurrentCalls`."""
GOOD, BAD, BURST = 8, 12, 100


async def _p99(kinds: list[str]) -> float:
    """Seconds after which all but one of a hundred deliveries to the good receivers were there."""
    store = SubscriptionStore(MemoryTable("subscriptions"), None, clock=time.monotonic)
    sender, queue = _Scripted(), _Queue()
    names = [f"{kind}-{number}" for number, kind in enumerate(kinds)]
    for name in names:
        await store.create(replace(_subscription(name, f"http://127.0.0.1/{name}"), concurrency=8))
    deliverer = _deliverer(store, sender, queue)
    for event in _events(BURST):
        for name in names:
            identity = Delivery.of(name, event, "", now=NOW).id
            queue.waiting.put_nowait(Wake(owner="a", subscription=name, delivery=identity, event=event.to_json()))
    began = time.monotonic()

    async def place() -> None:
        while True:
            await deliverer.deliver(await queue.waiting.get(), again=False)

    places = [asyncio.create_task(place()) for _ in range(PLACES)]
    good = [url for url in (f"http://127.0.0.1/{name}" for name in names) if "fast" in url]
    while sum(len(sender.got.get(url, ())) for url in good) < len(good) * BURST:  # noqa: ASYNC110 - counted from outside
        await asyncio.sleep(0.01)
    for one in places:
        one.cancel()
    await asyncio.gather(*places, return_exceptions=True)
    times = [moment - began for url in good for moment in sender.got[url]]
    return quantiles(times, n=100)[98]


def _beside(count: int) -> Iterator[float]:
    bad = ["slow", "dead", "silent"]
    mixed = ["fast"] * GOOD + [bad[number % 3] for number in range(BAD)]
    random.Random(7).shuffle(mixed)
    for _ in range(count):
        alone = asyncio.run(_p99(["fast"] * GOOD))
        yield asyncio.run(_p99(mixed)) / alone


BENCHMARKS = [
    Benchmark(
        name="webhook-out",
        claim="webhooks a second of processor time, their rows taken by nobody / aiohttp alone, signing too",
        goal=0.5,
        better="higher",
        rounds=_rounds,
    ),
    Benchmark(
        name="webhook-neighbours",
        claim="p99 of 8 good receivers of webhooks beside 12 slow, dead and silent ones / the same alone",
        goal=2.0,
        better="lower",
        rounds=_beside,
    ),
]
