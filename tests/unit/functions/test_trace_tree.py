"""The complete tree of one order, from the store: retried twice, claim-checked, with its events in the read model."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest

from functions.composition.processing import processor
from functions.composition.read_models import projector
from local_azure.partner.script import Rule, Script
from local_azure.partner.server import running_partner
from ops.tracing.tree import tree_of
from ops.tracing.waterfall import waterfall
from shared.classification import HIDDEN, Restricted
from shared.messages import Contract, Delivery, Integration, Lane, Registry, Retry
from shared.partners import Partner, PartnerModel, Timeouts
from shared.resilience import RetryPlan
from shared.streams import StreamEvent
from shared.telemetry import RecordedSpan, span
from shared.telemetry.span_store import SpanStore
from shared.work import Work
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.samples import MESSAGE_ID, envelope
from tests.unit.memory.sending import Sent
from tests.unit.traced import traced

PLANTED = "planted.person@example.com"


class Parcel(Contract):
    """What is sent."""

    parcel_id: str
    text: str
    recipient: Annotated[str, Restricted]


class Shipped(Contract):
    """What is shown of it."""

    parcel_id: str


def integration(failures: int) -> Integration:
    """A handler that fails so often before it does its work, with a step of its own that is traced."""
    shipping = Integration("shipping")
    left = [failures]

    @shipping.handles("parcel.sent", version="1.0", key="parcelId")
    async def ship(parcel: Parcel, work: Work) -> None:
        with span("ask the carrier", attributes={"recipient": parcel.recipient}):
            left[0] -= 1
            if left[0] >= 0:
                raise Retry(f"the carrier of {parcel.recipient} is away")
        await work.save("parcel", parcel.parcel_id, Shipped(parcel_id=parcel.parcel_id))
        work.publish("parcel.shipped", Shipped(parcel_id=parcel.parcel_id))

    @shipping.projects("parcel.shipped", into="parcels")
    def shown(parcel: Shipped) -> Shipped:
        return parcel

    return shipping


def delivery_of(sent: Sent, number: int) -> Delivery:
    """What was sent as it is delivered."""
    properties = {str(name): value for name, value in sent.headers.to_properties().items()}
    return Delivery(
        body=sent.body,
        properties=properties,
        message_id=sent.headers.broker_id,
        sequence_number=number,
        delivery_count=1,
    )


async def shipped(failures: int = 2) -> Running:
    """A large parcel from its POST to its row."""
    clock = [datetime(2026, 1, 5, 8, tzinfo=UTC)]
    app = Running(Registry([integration(failures)]), ENVIRONMENT, now=lambda: clock[0])
    data = {"parcelId": "p-1", "text": "x" * 20_000, "recipient": PLANTED}
    message = envelope(data, eventType="parcel.sent", timestamp="2026-01-05T08:00:00Z")
    assert (await app.post("/api/messages", message, {"X-Correlation-ID": "c-1"})).status == 202
    done = 0
    while done < len(app.lanes.sent):
        sent = app.lanes.sent[done]
        clock[0] += timedelta(minutes=1)
        await app.composition.get(processor).process(sent.headers.lane, [delivery_of(sent, done)])
        done += 1
    for number, event in enumerate(app.publisher.facts):
        one = StreamEvent(body=event.body, partition="0", offset="0", sequence_number=number)
        await app.composition.get(projector).project([one])
    return app


def kept_in(folder: Path, spans: list[RecordedSpan]) -> Any:
    """The tree as it is read from a store."""
    with closing(SpanStore(folder / "spans.sqlite")) as store:
        store.put(spans, "app")
        (found,) = store.find(MESSAGE_ID, most=5)
        return tree_of(found.trace, store.trace(found.trace, most=500))


async def test_the_tree_is_whole(tmp_path: Path) -> None:
    """Names, kinds, links and attributes of each step; attempts beside each other, linked to the first."""
    with traced() as kept:
        await shipped()
    tree = kept_in(tmp_path, kept.spans)
    shown = [(depth, node.name, node.span.kind) for depth, node in tree.nodes() if node.span is not None]
    attempt = [
        (2, "receive normal", "client"),
        (2, "process normal", "consumer"),
        (3, "get claim", "client"),
        (3, "handle parcel.sent", "internal"),
        (4, "ask the carrier", "internal"),
    ]
    last = [
        (3, "transaction", "internal"),
        (3, "publish", "internal"),
    ]
    assert sorted(shown) == sorted(
        [
            (0, "POST /api/messages", "server"),
            (1, "send normal", "producer"),
            (2, "put claim", "client"),
            attempt[0],
            *attempt[1:],
            *[(depth, name, kind) for depth, name, kind in attempt[1:]] * 2,
            *[(3, "receive normal", "client")] * 2,
            *last,
            (4, "process events", "consumer"),
        ]
    )
    first, second, third = tree.attempts
    assert [one.attributes["sluice.outcome"] for one in tree.attempts] == ["retry", "retry", "done"]
    assert [one.attributes["sluice.attempt"] for one in tree.attempts] == [1, 2, 3]
    assert [one.links for one in tree.attempts] == [[], [(tree.trace, first.span)], [(tree.trace, first.span)]]
    assert second.parent == third.parent == first.span
    assert third.attributes == {
        "messaging.system": "servicebus",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.operation": "process",
        "messaging.destination.name": "normal",
        "messaging.message.id": MESSAGE_ID,
        "messaging.message.conversation_id": "c-1",
        "sluice.key": "p-1",
        "sluice.event_type": "parcel.sent",
        "sluice.attempt": 3,
        "sluice.claim.size": third.attributes["sluice.claim.size"],
        "sluice.outcome": "done",
    }
    assert "3 attempts, claim 20" in waterfall(tree)


async def test_what_fails_is_kept_though_nothing_is_sampled(tmp_path: Path) -> None:
    """From the first failure on, with the flag in what is sent again; the batch too. What ends well leaves nothing."""
    with traced(ratio=0) as kept:
        app = await shipped(0)
        assert kept.spans == []
        assert [sent.headers.traceparent[-2:] for sent in app.lanes.sent if sent.headers.traceparent] == ["00"]
    with traced(ratio=0) as kept:
        app = await shipped(2)
    flags = [sent.headers.traceparent[-2:] for sent in app.lanes.sent if sent.headers.traceparent]
    assert flags == ["00", "01", "01"]
    names = [one.name for one in kept.spans]
    assert (names.count("process normal"), names.count("receive normal"), names.count("process events")) == (3, 3, 1)
    assert "POST /api/messages" not in names


async def test_no_protected_value_is_in_a_span_or_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Though the handler puts it into an attribute and into the error that it raises."""
    with caplog.at_level("DEBUG"), traced() as kept:
        await shipped()
    lines = " ".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    assert kept.named("process events").parent_id
    assert HIDDEN in kept.written()
    assert "planted" not in kept.written() + lines


async def test_what_is_slow_is_kept() -> None:
    """From its acceptance to its end, by the app's own clock: a minute here."""
    with traced(ratio=0, slow_seconds=61) as kept:
        await shipped(0)
    assert kept.spans == []
    with traced(ratio=0, slow_seconds=59) as kept:
        await shipped(0)
    assert {"process normal", "transaction", "receive normal"} <= {one.name for one in kept.spans}


async def test_a_replay_goes_on_from_the_first_attempt(tmp_path: Path) -> None:
    """Its dead letter keeps that attempt's place in the trace, with the flag; what is played again is linked to it."""
    with traced(ratio=0) as kept:
        app = await shipped(99)
        (letter,) = app.dead_letters.letters.values()
        first = min((one for one in kept.spans if one.name == "process normal"), key=lambda one: one.started_at)
        place = f"00-{first.trace_id:032x}-{first.span_id:016x}-01"
        assert letter.traceparent == place
        assert letter.properties["traceparent"] == place
        properties = {**letter.properties, "attempt": 1, "replay": 1}
        again = Delivery(body=letter.body, properties=properties, message_id="", sequence_number=99, delivery_count=1)
        await app.composition.get(processor).process(Lane.NORMAL, [again])
    replayed = [one for one in kept.spans if one.attributes.get("sluice.replay") == 1]
    assert [(one.parent_id, [link.context.span_id for link in one.links]) for one in replayed] == [
        (first.span_id, [first.span_id])
    ]


class Label(PartnerModel):
    """What the carrier answers."""

    id: str


async def test_a_partners_call_is_part_of_the_tree(tmp_path: Path) -> None:
    """Each try beneath the handler that makes it, and the partner is told of the trace."""
    carrier = Partner("carrier", timeouts=Timeouts(total=1), retry=RetryPlan(max_attempts=2, base=0.01, cap=0.01))
    shipping = Integration("shipping")

    @shipping.handles("parcel.sent", version="1.0", key="parcelId")
    async def ship(parcel: Parcel, work: Work) -> None:
        await work.call(carrier).post("/labels", Label)

    script = Script([Rule.of({"times": 1, "status": 500})], random=lambda: 0.5)
    async with running_partner(script=script, clock=time.monotonic) as running:
        settings = {"SLUICE_PARTNER_URLS": f"carrier={running.url}", "SLUICE_HANDLER_TIMEOUT_SECONDS": "9"}
        with traced() as kept:
            app = Running(Registry([shipping], beside=[carrier]), {**ENVIRONMENT, **settings})
            data = {"parcelId": "p-1", "text": "x", "recipient": PLANTED}
            message = envelope(data, eventType="parcel.sent", timestamp="2026-01-05T08:00:00Z")
            assert (await app.post("/api/messages", message)).status == 202
            (sent,) = app.lanes.sent
            await app.composition.get(processor).process(sent.headers.lane, [delivery_of(sent, 0)])
            await app.composition.close()
        asked = running.book.asked
    tree = kept_in(tmp_path, kept.spans)
    (handler,) = (node.span for _, node in tree.nodes() if node.span is not None and node.name == "handle parcel.sent")
    calls = [node.span for _, node in tree.nodes() if node.span is not None and node.name == "partner call"]
    assert [(one.kind, one.parent) for one in calls] == [("client", handler.span)] * 2
    assert [one.attributes["http.request.resend_count"] for one in calls] == [0, 1]
    assert {one.attributes["sluice.partner"] for one in calls} == {"carrier"}
    assert {one.headers["traceparent"].split("-")[1] for one in asked} == {tree.trace}
    assert PLANTED not in kept.written()
