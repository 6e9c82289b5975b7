"""A marked message goes the whole way, and is none of anybody's business."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import integrations
from functions.composition import with_synthetic
from functions.composition.processing import processor
from functions.composition.read_models import projector
from functions.composition.synthetic import transaction
from shared.messages import CloudEvent, Delivery, Integration, Lane, discover
from shared.streams import StreamEvent
from shared.synthetic import EVENT_TYPE, VIEW, Marked, SyntheticTransaction
from shared.telemetry import Metrics
from shared.telemetry.metrics import enable
from tests.unit.functions.conftest import ENVIRONMENT, Running

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    """All instruments are on."""
    enable()
    yield
    enable(False)


@pytest.fixture
def app() -> Running:
    """The app with its own integrations and that of marked messages."""
    return Running(with_synthetic(discover(integrations)), {**ENVIRONMENT, "SLUICE_SYNTHETIC": "true"})


def counts(name: str) -> dict[tuple[tuple[str, str], ...], Any]:
    """What an instrument holds."""
    return {tuple(point.attributes.items()): point.value for point in getattr(Metrics, name).points()}


async def work_off(app: Running) -> None:
    """Process what waits on the lanes, and project what was published."""
    waiting, app.lanes.sent = app.lanes.sent, []
    for number, sent in enumerate(waiting):
        properties = {str(name): value for name, value in sent.headers.to_properties().items()}
        delivery = Delivery(
            body=sent.body, properties=properties, message_id="", sequence_number=number, delivery_count=1
        )
        await app.composition.get(processor).process(sent.headers.lane, [delivery])
    facts, app.publisher.facts = app.publisher.facts, []
    events = [StreamEvent(body=one.body, partition="0", offset="0", sequence_number=0) for one in facts]
    await app.composition.get(projector).project(events)


async def test_it_goes_the_whole_way_on_every_lane_in_turn(app: Running) -> None:
    """Sent as a client sends, handled, published, projected; one row a lane is all that it leaves to be seen."""
    lanes = [Lane.HIGH, Lane.NORMAL, Lane.LOW]  # the ordered one needs the broker's dead letters
    for lane in lanes:
        running = asyncio.create_task(app.composition.get(transaction).run())
        await asyncio.wait({running}, timeout=0.2)  # it looks for its row meanwhile
        assert app.lanes.sent[0].headers.lane is lane
        await work_off(app)
        found = await running
        assert found["lane"] == lane.value
    assert {view for view, _ in app.views.rows} == {VIEW}
    assert {key for _, key in app.views.rows} == {lane.value for lane in lanes}
    assert {name for name in found if name.endswith(".last")} == {f"{lane.value}.last" for lane in lanes}
    runs = counts("synthetic_runs")
    assert runs == {(("lane", lane.value), ("outcome", "done")): 1 for lane in lanes}


async def test_it_is_in_no_count_and_no_view_of_the_business(app: Running) -> None:
    """Beside an order that is in all of them."""
    running = asyncio.create_task(app.composition.get(transaction).run())
    await asyncio.wait({running}, timeout=0.2)
    published = [CloudEvent.from_json(one.body).type for one in app.publisher.facts]
    await work_off(app)
    await running
    assert published == []
    assert counts("messages_processed") == {}
    assert counts("messages_objective") == {}
    assert counts("messages_age") == {}
    state = app.state.keys("state:")
    assert state == ["state:synthetic:high"]
    assert (await app.get("/api/orders/high")).status == 404


async def test_one_that_is_lost_is_counted_and_ended_by_who_calls() -> None:
    """The next run is of the next lane, and the lost one is told of until it arrives again."""
    arrived: dict[str, Marked] = {}
    lost = {Lane.HIGH}

    async def send(marked: Marked) -> None:
        if marked.lane not in lost:
            arrived[marked.lane.value] = marked

    async def row(key: str) -> Marked | None:
        return arrived.get(key)

    made = SyntheticTransaction(send, row, [Lane.HIGH, Lane.LOW], now=lambda: NOW)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await made.run()
    assert counts("synthetic_runs") == {(("lane", "high"), ("outcome", "lost")): 1}
    assert (await made.run())["high.last"] == "no end"
    lost.clear()
    assert (await made.run())["high.last"].endswith("ms")


async def test_the_row_of_an_earlier_run_is_not_taken_for_this_one() -> None:
    """A row is there from a minute ago: it proves nothing."""
    old = Marked(lane=Lane.HIGH, run="old", sent_at=NOW)
    rows: list[Marked] = [old]

    async def send(marked: Marked) -> None:
        asyncio.get_running_loop().call_later(0.01, rows.append, marked)

    async def row(_: str) -> Marked | None:
        return rows[-1]

    async def turn(_: float) -> None:
        await asyncio.sleep(0.001)

    made = SyntheticTransaction(send, row, [Lane.HIGH], now=lambda: NOW, sleep=turn)
    assert (await made.run())["lane"] == "high"
    assert len(rows) == 2


async def test_what_can_not_be_sent_is_passed_on() -> None:
    """Readiness says what it was."""

    async def send(_: Marked) -> None:
        raise ConnectionError("away")

    async def row(_: str) -> Marked | None:
        return None

    with pytest.raises(ConnectionError):
        await SyntheticTransaction(send, row, now=lambda: NOW).run()


async def test_an_app_that_sends_none_takes_those_of_one_that_does(app: Running) -> None:
    """Apps are deployed one after the other: none makes a dead letter of what another app sends."""
    sending = asyncio.create_task(app.composition.get(transaction).run())
    await asyncio.wait({sending}, timeout=0.2)
    other = Running(with_synthetic(discover(integrations)))
    assert not other.composition.settings.synthetic
    other.lanes.sent = app.lanes.sent
    await work_off(other)
    sending.cancel()
    assert [key for _, key in other.views.rows] == [Lane.HIGH.value]


async def test_the_api_tells_nobody_of_it(app: Running) -> None:
    """Neither a route nor a contract: what clients rely on is the business's alone."""
    answer = await app.get("/api/openapi.json")
    assert answer.status == 200
    assert b"synthetic" not in answer.body.lower()
    assert (await app.get("/api/synthetic/high")).status == 404


def test_an_integration_of_the_same_event_type_is_refused() -> None:
    """Whether marked messages are sent or not: the setting may be changed."""
    registry = discover(integrations)
    clashing = Integration("mine")

    @clashing.handles(EVENT_TYPE, key="lane")
    async def arrive(marked: Marked, work: object) -> None: ...

    with pytest.raises(ValueError, match=r"synthetic\.sent"):
        with_synthetic(registry.beside(clashing))
