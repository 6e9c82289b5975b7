"""The whole way of one order in one tree, from the store: claim-checked, tried three times, shipped, delivered."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from functions.composition.processing import processor
from functions.composition.read_models import projector
from functions.composition.subscriptions import deliverer, deliveries, fan_out, subscription_store, wake_queue
from local_azure.partner.script import Script
from local_azure.partner.server import running_partner
from shared.messages import Integration, Registry, Retry
from shared.partners import Partner, Timeouts
from shared.streams import StreamEvent
from shared.subscriptions import Deliveries, SubscriptionStore
from shared.tables import MemoryTable
from shared.work import Work
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.samples import envelope
from tests.unit.functions.test_trace_tree import PLANTED, Label, Parcel, Shipped, delivery_of, kept_in
from tests.unit.memory import MemoryWakes
from tests.unit.shared.subscriptions.kit import receiving
from tests.unit.traced import traced

ATTEMPT = [
    (2, "receive normal", "client"),
    (2, "process normal", "consumer"),
    (3, "get claim", "client"),
    (3, "handle parcel.sent", "internal"),
]
"""Of the first; the others are beneath it."""


async def test_one_order_retried_twice_shipped_and_delivered_is_one_tree(tmp_path: Path) -> None:
    """Each step once, where it belongs; partner and receiver get the trace, and nothing protected is in it."""
    carrier = Partner("carrier", timeouts=Timeouts(total=1))
    shipping = Integration("shipping")
    left = [2]

    @shipping.handles("parcel.sent", version="1.0", key="parcelId")
    async def ship(parcel: Parcel, work: Work) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise Retry("the warehouse is closed")
        await work.call(carrier).post("/labels", Label)
        await work.save("parcel", parcel.parcel_id, Shipped(parcel_id=parcel.parcel_id))
        work.publish("parcel.shipped", Shipped(parcel_id=parcel.parcel_id))

    @shipping.projects("parcel.shipped", into="parcels")
    def shown(parcel: Shipped) -> Shipped:
        return parcel

    clock, wakes = [datetime(2026, 1, 5, 8, tzinfo=UTC)], MemoryWakes()
    async with (
        running_partner(script=Script(random=lambda: 0.5), clock=time.monotonic) as partner,
        receiving() as receiver,
    ):
        settings = {"SLUICE_PARTNER_URLS": f"carrier={partner.url}", "SLUICE_HANDLER_TIMEOUT_SECONDS": "9"}
        with traced() as kept:
            app = Running(
                Registry([shipping], beside=[carrier]),
                {**ENVIRONMENT, **settings, "SLUICE_WEBHOOK_ALLOW_LOCAL": "true"},
                parts={
                    subscription_store: SubscriptionStore(MemoryTable("s"), None, clock=time.monotonic),
                    deliveries: Deliveries(MemoryTable("d"), now=lambda: clock[0]),
                    wake_queue: wakes,
                },
                now=lambda: clock[0],
            )
            wanted = {"url": f"{receiver.url}/shop", "eventTypes": ["parcel.shipped"]}
            assert (await app.post("/api/subscriptions", wanted)).status == 201
            data = {"parcelId": "p-1", "text": "x" * 20_000, "recipient": PLANTED}
            message = envelope(data, eventType="parcel.sent", timestamp="2026-01-05T08:00:00Z")
            assert (await app.post("/api/messages", message)).status == 202
            for number in range(3):
                sent = app.lanes.sent[number]
                clock[0] += timedelta(minutes=1)
                await app.composition.get(processor).process(sent.headers.lane, [delivery_of(sent, number)])
            (event,) = app.publisher.facts
            events = [StreamEvent(body=event.body, partition="0", offset="0", sequence_number=0)]
            await app.composition.get(projector).project(events)
            await app.composition.get(fan_out).apply(events)
            for wake in wakes.waiting:
                await app.composition.get(deliverer).deliver(wake, again=False)
            await app.composition.close()
        (label,) = partner.book.asked
        (delivered,) = receiver.at("/shop")
    tree = kept_in(tmp_path, kept.spans)
    shown_spans = [(depth, node.name, node.span.kind) for depth, node in tree.nodes() if node.span is not None]
    assert sorted(shown_spans) == sorted(
        [
            (0, "POST /api/messages", "server"),
            (1, "send normal", "producer"),
            (2, "put claim", "client"),
            *ATTEMPT,
            *[(depth + (depth == 2), name, kind) for depth, name, kind in ATTEMPT[:1]] * 2,
            *ATTEMPT[1:] * 2,
            (4, "partner call", "client"),
            (3, "transaction", "internal"),
            (3, "publish", "internal"),
            (4, "process events", "consumer"),
            (4, "send webhook", "client"),
        ]
    )
    assert [one.attributes["sluice.outcome"] for one in tree.attempts] == ["retry", "retry", "done"]
    assert label.headers["traceparent"].split("-")[1] == tree.trace
    assert PLANTED not in kept.written()
    assert PLANTED.encode() not in delivered.body
