"""Webhooks out with memory in place of tables and broker, time that is moved, and real receivers on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from shared.classification import Classification
from shared.messages import CloudEvent, Contract, Integration, Registry
from shared.streams import StreamEvent
from shared.subscriptions import (
    AddressPolicy,
    Credentials,
    Deliverer,
    Deliveries,
    Delivery,
    Endpoints,
    FanOut,
    HttpSender,
    Payloads,
    Sender,
    Subscription,
    SubscriptionStore,
    Wake,
)
from shared.tables import MemoryTable

__all__ = ["NOW", "Received", "Receiver", "World", "event", "receiving", "shop", "subscription"]

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

shop = Integration("shop")


class Sold(Contract):
    item: str
    country: str = "France"


@shop.projects("shop.sold", into="sales")
def sale(sold: Sold) -> Sold:
    return sold


@shop.projects("shop.returned", into="sales")
def returned(sold: Sold) -> Sold:
    return sold


def event(number: int, *, kind: str = "shop.sold", time: datetime = NOW, data: str = "") -> CloudEvent:
    """An event of the shop."""
    return CloudEvent(
        id=f"e-{number}",
        type=kind,
        source="/sluice",
        subject=f"item-{number % 5}",
        time=time,
        version="1.0",
        data=data or f'{{"item":"{number}","country":"France"}}',
        correlation_id=f"c-{number}",
        sequence=number,
    )


def subscription(identity: str, url: str, **more: Any) -> Subscription:
    """One that wants everything that the shop sells."""
    values: dict[str, Any] = {
        "owner": "alice",
        "event_types": ("shop.sold",),
        "secrets": (SECRET,),
        "level": Classification.CONFIDENTIAL,
        "created_at": NOW - timedelta(days=1),
        "changed_at": NOW,
    }
    return Subscription(id=identity, url=url, **{**values, **more})


@dataclass
class Received:
    """One request of ours as its receiver saw it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A real HTTP server; what it answers is by path, a status or a whole handler."""

    url: str = ""
    answers: dict[str, int | Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def at(self, path: str) -> list[Received]:
        """What came to a path."""
        return [one for one in self.received if one.path == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Keep what came, and answer."""
        self.received.append(Received(request.path, dict(request.headers), await request.read()))
        found = self.answers.get(request.path, 200)
        return web.Response(status=found, text="noted") if isinstance(found, int) else await found(request)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


class World:
    """One or more instances on the same tables and queue."""

    def __init__(self, *, sender: Sender | None = None, seconds: float = 5.0, largest: int = 65_536) -> None:
        self.now = NOW
        self.waiting: list[tuple[datetime, Wake]] = []
        self.sent: list[Wake] = []
        self.table = MemoryTable("webhookdeliveries")
        self.store = SubscriptionStore(MemoryTable("subscriptions"), None, clock=self.clock)
        self.deliveries = Deliveries(self.table, now=lambda: self.now)
        self.payloads = Payloads(Registry([shop]), None, largest=largest, base_url="https://api.example")
        self.sender = sender or HttpSender(AddressPolicy(local=True), seconds=seconds)
        self.fan_out = FanOut(self.store, self.deliveries, self, self.payloads, now=lambda: self.now)
        self.deliverer = self.instance()
        self._positions = 0

    def clock(self) -> float:
        """Seconds, as the moved time has them."""
        return self.now.timestamp()

    certificate: Callable[[], Awaitable[ssl.SSLContext]] | None = None

    def instance(self) -> Deliverer:
        """An instance that has just started."""
        return Deliverer(
            self.store,
            self.deliveries,
            self,
            self.payloads,
            self.sender,
            Endpoints(lambda *_: None, clock=self.clock),  # type: ignore[arg-type]
            Credentials(self.sender, self.certificate, clock=self.clock),
            now=lambda: self.now,
            clock=self.clock,
            random=lambda: 0.5,
        )

    async def send(self, wake: Wake, *, when: datetime | None = None) -> None:
        """As the broker's queue."""
        self.sent.append(wake)
        self.waiting.append((when or self.now, wake))

    async def publish(self, *events: CloudEvent) -> None:
        """Have the log's consumer apply events as one batch."""
        batch = [
            StreamEvent(body=one.to_json(), partition="0", offset="", sequence_number=self._positions + number)
            for number, one in enumerate(events)
        ]
        self._positions += len(events)
        await self.fan_out.apply(batch)

    async def run(self, seconds: float = 0.0) -> None:
        """Deal with all that is due until so many seconds from now, moving the time from one to the next."""
        ends = self.now + timedelta(seconds=seconds)
        while due := [one for one in self.waiting if one[0] <= ends]:
            moment = min(when for when, _ in due)
            self.now = max(self.now, moment)
            ready = [one for one in due if one[0] <= self.now]
            self.waiting = [one for one in self.waiting if one not in ready]
            await asyncio.gather(*(self.deliverer.deliver(wake, again=False) for _, wake in ready))
        self.now = ends

    async def all(self, identity: str) -> list[Delivery]:
        """A subscription's deliveries, the newest first."""
        return list((await self.deliveries.page(identity, top=1_000)).found)

    async def statuses(self, identity: str) -> Sequence[str]:
        """Of all of them."""
        return [one.status.value for one in await self.all(identity)]

    async def changed(self, identity: str, **values: Any) -> Subscription:
        """A subscription changed as its owner would."""
        found = await self.store.change("alice", identity, lambda one: replace(one, **values))
        assert found is not None
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self.sender.close()
