"""One trace from the POST to the read model, whatever carries it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import integrations
from functions.composition.processing import processor
from functions.composition.read_models import projector
from shared.messages import CloudEvent, Delivery, discover
from shared.streams import StreamEvent
from shared.telemetry import current_traceparent, link_to, span
from tests.unit.functions.conftest import Running
from tests.unit.functions.samples import order
from tests.unit.traced import Traced, traced

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = 0x0AF7651916CD43DD8448EB211C80319C


@pytest.fixture
def exported() -> Iterator[Traced]:
    """What is recorded."""
    with traced() as kept:
        yield kept


async def through_the_app() -> Running:
    """An order from the POST to its row."""
    app = Running(discover(integrations))
    headers = {"traceparent": OUTSIDE, "X-Correlation-ID": "c-7"}
    assert (await app.post("/api/orders", order(), headers)).status == 202
    (sent,) = app.lanes.sent
    properties = {str(name): value for name, value in sent.headers.to_properties().items()}
    delivery = Delivery(body=sent.body, properties=properties, message_id="", sequence_number=1, delivery_count=1)
    await app.composition.get(processor).process(sent.headers.lane, [delivery])
    (fact,) = app.publisher.facts
    await app.composition.get(projector).project(
        [StreamEvent(body=fact.body, partition="0", offset="0", sequence_number=0)]
    )
    return app


async def test_one_trace_runs_from_the_sender_to_the_read_model(exported: Traced) -> None:
    """What is done for one message alone is in its trace; the batch is linked to it."""
    app = await through_the_app()
    names = (
        ("POST /api/orders", ""),
        ("send normal", "POST /api/orders"),
        ("process normal", "send normal"),
        ("handle order.placed", "process normal"),
        ("transaction", "process normal"),
        ("publish", "process normal"),
        ("process events", "handle order.placed"),
    )
    for name, parent in names:
        one = exported.named(name)
        assert one.trace_id == TRACE
        assert one.parent_id == (exported.named(parent).span_id if parent else int(OUTSIDE[36:52], 16)), name
    (link,) = exported.named("receive normal").links
    assert link.context.span_id == exported.named("send normal").span_id
    event = CloudEvent.from_json(app.publisher.facts[0].body)
    assert event.traceparent == f"00-{TRACE:032x}-{exported.named('handle order.placed').span_id:016x}-01"


async def test_the_correlation_id_goes_all_the_way(exported: Traced) -> None:
    """Message property, event attribute, span attribute."""
    app = await through_the_app()
    assert app.lanes.sent[0].headers.correlation_id == "c-7"
    assert CloudEvent.from_json(app.publisher.facts[0].body).correlation_id == "c-7"
    attributes = exported.named("POST /api/orders").attributes
    assert (attributes["correlation.id"], attributes["http.response.status_code"]) == ("c-7", 202)


async def test_a_failing_request_is_seen_in_its_span(exported: Traced) -> None:
    """With the exception."""
    app = Running(discover(integrations))
    app.lanes.broken = RuntimeError("bug")
    assert (await app.post("/api/orders", order())).status == 500
    post = exported.named("POST /api/orders")
    assert [name for name, *_ in post.events] == ["exception"]
    assert exported.named("send normal").problem == "RuntimeError: bug"


@pytest.mark.parametrize("parent", [None, "", "00-zz-zz-01", "x" * 10_000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_is_none_begins_a_trace(exported: Traced, parent: str | None) -> None:
    """Whoever calls may send anything."""
    with span("one", parent=parent):
        made = current_traceparent()
    assert made is not None
    assert exported.named("one").parent_id == 0


@pytest.mark.parametrize("wrong", [None, "", "x", 5, b"00-1", [OUTSIDE], {"a": 1}, 1.5])
def test_a_link_to_nothing_is_none(wrong: object) -> None:
    """Properties of messages may hold anything."""
    assert link_to(wrong) is None
    assert link_to(OUTSIDE) is not None


def test_nothing_is_carried_where_nothing_is_traced() -> None:
    """No header of zeros."""
    assert current_traceparent() is None
