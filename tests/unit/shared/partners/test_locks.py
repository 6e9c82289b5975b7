"""A slow partner and a batch's lock: what is begun ends within it, and what isn't comes again without an attempt."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from functions.composition.partners import lane_lock, work_seconds
from shared.messages import Contract, Delivery, Headers, Integration, Lane, Registry
from shared.partners import Caller, Partner, PartnerFailed, Partners, PartnerUnavailable, Timeouts
from shared.partners import Surroundings as CallSurroundings
from shared.partners.sessions import Received, Request
from shared.processing.handling import CALLS_SHARE
from shared.testing import AnsweringPartner
from shared.work import Work
from tests.unit.memory import Instance, MemoryDeadLetters, MemoryLanes, MemoryPublisher, Sent, Surroundings
from tests.unit.shared.partners.world import NOW, Label, Parcel, World, world

SCALE = 0.01
"""Of the seconds of production: an answer after 29 s takes 0.29 s here."""
AGREED = 2.0
"""Seconds of a call: much longer than its answer takes, so that a busy machine breaks no agreement."""
MESSAGES = 64


_COPIES = itertools.count(1_000)


class Order(Contract):
    """The command of these tests."""

    order_id: str


@pytest.mark.parametrize(
    ("agreed", "lock"), [([], 30), ([10.0], 30), ([20.0], 35), ([10.0, 29.0], 47), ([200.0], 265)], ids=str
)
def test_the_lock_follows_from_what_was_agreed(agreed: list[float], lock: int) -> None:
    """The longest call and its commit are at most 0.8 of it; it is never below 30 s, and never above 5 minutes."""
    partners = [Partner(f"p-{number}", timeouts=Timeouts(total=each)) for number, each in enumerate(agreed)]
    registry = Registry([], beside=partners)
    assert lane_lock(registry) == f"PT{lock}S"
    assert (max(agreed, default=0) + 5) / 0.8 <= lock <= 300
    assert work_seconds(registry) + 5 <= lock * 0.8
    assert work_seconds(registry) * CALLS_SHARE >= max(agreed, default=-2) + 2  # else its first call is never begun


def test_a_call_that_fits_no_lock_is_refused() -> None:
    """Where it is declared, so that the app doesn't start."""
    with pytest.raises(ValueError, match="200"):
        Timeouts(total=201)


async def test_a_call_without_its_agreed_time_is_not_begun() -> None:
    """The partner isn't bothered for an answer that nobody waits for; a later call of a run takes what is left."""
    async with world(timeouts=Timeouts(total=5)) as carrier:
        late = asyncio.get_running_loop().time() + 4
        with pytest.raises(PartnerUnavailable, match="the time of its batch is over") as raised:
            await carrier.calls(deadline=late).post("/labels", Label, Parcel(reference="A"))
        assert 0.25 <= raised.value.after <= 2
        assert not carrier.asked
        calls = carrier.calls(deadline=late + 2)
        await calls.post("/labels", Label, Parcel(reference="A"))
        carrier.says("GET", delay=10)
        soon = carrier.calls(deadline=asyncio.get_running_loop().time() + 0.1)
        soon._numbers["an earlier call"] += 1
        with pytest.raises(PartnerFailed, match="no answer within"):  # an attempt: it would end so each time
            await soon.get("/labels", list[Label])
        asked = len(carrier.asked)
        with pytest.raises(PartnerFailed, match="no time left") as failed:
            await soon.get("/labels", list[Label])
        assert not failed.value.sent
        assert len(carrier.asked) == asked


class Late(AnsweringPartner):
    """A connection whose partner takes as long as it may, and the clock that it moves."""

    seconds = 0.0

    async def send(self, request: Request, *, seconds: float, identity: ssl.SSLContext | None = None) -> Received:
        """No answer."""
        self.seconds += seconds
        raise PartnerFailed("carrier", request.endpoint, "no answer")


async def test_a_first_call_that_takes_its_whole_time_is_an_attempt() -> None:
    """Though its batch's time is over with it: else its message would come again for days."""
    partner = Partner("carrier", timeouts=Timeouts(total=5))
    late = Late(partner)
    around = CallSurroundings(clock=lambda: late.seconds, now=lambda: NOW, random=lambda: 0.5)
    partners = Partners([partner], urls={}, connect=lambda _: late, around=around)
    caller = Caller(message_id=UUID(int=1), correlation_id="c", bucket=0, deadline=5.0)
    with pytest.raises(PartnerFailed, match="no answer"):
        await partners.calls(partner, caller, Counter()).get("/labels", list[Label])
    assert late.seconds == 5


class Slow:
    """A lane of orders whose handler has a label made; what comes again is delivered again."""

    def __init__(self, carrier: World, seconds: float) -> None:
        self.lanes = MemoryLanes()
        self.carrier = carrier
        orders = Integration("orders")

        @orders.handles("order.placed", key="orderId")
        async def place(order: Order, work: Work) -> None:
            await work.call(carrier.partner).post("/labels", Label, Parcel(reference=order.order_id))
            await work.save("order", order.order_id, order)

        budget = seconds / 0.98 + 0.1
        self.dead = MemoryDeadLetters()
        around = Surroundings(
            registry=Registry([orders]),
            store=carrier.store,
            lanes=self.lanes,
            publisher=MemoryPublisher(),
            dead_letters=self.dead,
            now=lambda: NOW,
            timeout=budget,
            batch_budget=budget,
            concurrency=32,
            partners=carrier.partners,
        )
        self.processor = Instance(around).processor

    async def run(self) -> Counter[int]:
        """Until every message is done; how often each was delivered, by how many."""
        loop = asyncio.get_running_loop()
        waiting = [delivery(number) for number in range(1, MESSAGES + 1)]
        deliveries: Counter[str] = Counter()
        while waiting:
            deliveries.update(str(one.properties["messageId"]) for one in waiting)
            began = loop.time()
            await self.processor.process(Lane.NORMAL, waiting)
            assert loop.time() - began < (AGREED + 0.1 + 5) / 0.8  # the lock
            sent, self.lanes.sent[:] = list(self.lanes.sent), []
            assert {one.headers.attempt for one in sent} <= {1}
            waiting = [again(one) for one in sent]
        return Counter(deliveries.values())


def delivery(number: int) -> Delivery:
    """An order."""
    headers = Headers(
        message_id=UUID(int=number),
        event_type="order.placed",
        version="1.0",
        source="/shop",
        key=f"o-{number}",
        lane=Lane.NORMAL,
        correlation_id="c",
        first_attempt_at=NOW,
    )
    body = {
        "messageId": str(headers.message_id),
        "timestamp": "2026-01-02T03:04:05Z",
        "source": "/shop",
        "eventType": "order.placed",
        "version": "1.0",
        "data": {"orderId": headers.key},
    }
    return of(json.dumps(body).encode(), headers, number)


def of(body: bytes, headers: Headers, number: int) -> Delivery:
    """As the trigger hands it over."""
    properties: dict[str, Any] = {str(name): value for name, value in headers.to_properties().items()}
    return Delivery(
        body=body, properties=properties, message_id=headers.broker_id, sequence_number=number, delivery_count=1
    )


def again(sent: Sent) -> Delivery:
    """A copy that was scheduled, at its time."""
    assert sent.when is not None
    assert sent.when - NOW <= timedelta(seconds=1)
    return of(sent.body, sent.headers, next(_COPIES))


@pytest.mark.parametrize("answers_after", [20.0, 29.0])
async def test_no_message_is_delivered_twice_for_a_slow_partner(answers_after: float) -> None:
    """64 at once, 32 side by side: those that don't fit into the lock come again, and have lost no attempt."""
    async with world(timeouts=Timeouts(total=AGREED)) as carrier:
        carrier.says("POST", delay=answers_after * SCALE)
        slow = Slow(carrier, AGREED)
        deliveries = await slow.run()
        assert sum(deliveries.values()) == MESSAGES
        assert max(deliveries) > 1
        assert len(carrier.asked) == len(carrier.labels) == MESSAGES
        assert not slow.dead.letters
        done = [key for key in carrier.store.keys("inbox:") if key]
        assert len(done) == MESSAGES
