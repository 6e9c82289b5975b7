"""One trace from the POST to the read model, whatever carries it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import integrations
from functions.composition.processing import processor
from functions.composition.read_models import projector
from shared.messages import CloudEvent, Delivery, discover
from shared.streams import StreamEvent
from shared.telemetry import current_traceparent, link_to, span, tracing
from tests.unit.functions.conftest import Running
from tests.unit.functions.samples import order

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = 0x0AF7651916CD43DD8448EB211C80319C


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded, without touching the process's own provider."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("sluice"))
    yield exporter
    provider.shutdown()


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    """The one span of that name."""
    (found,) = [one for one in exporter.get_finished_spans() if one.name == name]
    return found


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


async def test_one_trace_runs_from_the_sender_to_the_read_model(exported: InMemorySpanExporter) -> None:
    """POST, send and handler are one trace; batch and projection, which serve many, are linked to it."""
    app = await through_the_app()
    post, send, handler = (named(exported, name) for name in ("POST /api/orders", "send", "handler"))
    for one, parent in ((post, None), (send, post), (handler, send)):
        assert one.context is not None
        assert one.context.trace_id == TRACE
        if parent is not None:
            assert parent.context is not None
            assert one.parent is not None
            assert one.parent.span_id == parent.context.span_id
    batch, transaction = named(exported, "batch"), named(exported, "transaction")
    assert send.context is not None
    assert [link.context.span_id for link in batch.links] == [send.context.span_id]
    assert batch.context is not None
    assert transaction.parent is not None
    assert transaction.parent.span_id == batch.context.span_id
    fact = CloudEvent.from_json(app.publisher.facts[0].body)
    assert handler.context is not None
    assert fact.traceparent == f"00-{TRACE:032x}-{handler.context.span_id:016x}-01"
    project = named(exported, "project")
    assert [link.context.span_id for link in project.links] == [handler.context.span_id]


async def test_the_correlation_id_goes_all_the_way(exported: InMemorySpanExporter) -> None:
    """Message property, event attribute, span attribute."""
    app = await through_the_app()
    assert app.lanes.sent[0].headers.correlation_id == "c-7"
    assert CloudEvent.from_json(app.publisher.facts[0].body).correlation_id == "c-7"
    attributes = named(exported, "POST /api/orders").attributes or {}
    assert (attributes["correlation.id"], attributes["http.response.status_code"]) == ("c-7", 202)


async def test_a_failing_request_is_seen_in_its_span(exported: InMemorySpanExporter) -> None:
    """With the exception."""
    app = Running(discover(integrations))
    app.lanes.broken = RuntimeError("bug")
    assert (await app.post("/api/orders", order())).status == 500
    post = named(exported, "POST /api/orders")
    assert [event.name for event in post.events] == ["exception"]
    assert named(exported, "send").status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("parent", [None, "", "00-zz-zz-01", "x" * 10_000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_is_none_begins_a_trace(exported: InMemorySpanExporter, parent: str | None) -> None:
    """Whoever calls may send anything."""
    with span("one", parent=parent):
        made = current_traceparent()
    assert made is not None
    assert named(exported, "one").parent is None


@pytest.mark.parametrize("wrong", [None, "", "x", 5, b"00-1", [OUTSIDE], {"a": 1}, 1.5])
def test_a_link_to_nothing_is_none(wrong: object) -> None:
    """Properties of messages may hold anything."""
    assert link_to(wrong) is None
    assert link_to(OUTSIDE) is not None


def test_nothing_is_carried_where_nothing_is_traced() -> None:
    """No header of zeros."""
    assert current_traceparent() is None
