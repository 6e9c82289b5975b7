"""What a client sends that nobody knows: query parameters and fields. It hears of it, or it is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import Field

from functions.composition.processing import processor
from functions.composition.read_models import projector
from shared.messages import Contract, Delivery, Integration, Registry
from shared.streams import StreamEvent
from shared.telemetry import Metrics

from .conftest import ENVIRONMENT, Running
from .samples import credit_note, envelope, line, order

REFUSING = {**ENVIRONMENT, "SLUICE_REFUSE_UNKNOWN_FIELDS": "true"}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "1",
    "type": "order.placed",
    "source": "s",
    "time": "2010-12-01T08:26:00Z",
    "colour": "red",
}


@pytest.mark.parametrize(
    "path",
    [
        "/api/orders/1?status=moving",
        "/api/orders?status=moving",
        "/api/orders?customerId=17850&status=moving",
        "/api/operations/x?status=moving",
        "/api/health?status=moving",
        "/api/health/ready?status=moving",
        "/api/docs?status=moving",
        "/api/openapi.json?status=moving",
    ],
)
async def test_a_query_parameter_that_nobody_knows_is_refused_by_its_name(running: Running, path: str) -> None:
    """An answer as if it had been followed would be a lie."""
    answer = await running.get(path)
    assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")
    assert answer.json["error"]["details"]["errors"][0]["field"] == "status"


@pytest.mark.parametrize("path", ["/api/messages", "/api/orders", "/api/credit-notes"])
async def test_a_commands_query_parameter_is_refused_too(running: Running, path: str) -> None:
    """Nothing was sent: the sender may have meant something by it."""
    answer = await running.post(f"{path}?dryRun=true", envelope())
    assert (answer.status, answer.json["error"]["details"]["errors"][0]["field"]) == (400, "dryRun")
    assert running.lanes.sent == []


@pytest.mark.parametrize(
    "query", ["customerId=1&top=1&top=2", "customerId=1&customerId=2", "a", "=", "%00=1", "x" * 5_000]
)
async def test_a_parameter_given_twice_or_strangely_is_refused(running: Running, query: str) -> None:
    """Which of the two would count? The answer stays short."""
    answer = await running.get(f"/api/orders?{query}")
    assert answer.status == 400
    assert len(answer.body) < 500


async def test_many_unknown_parameters_make_a_short_answer(running: Running) -> None:
    """All are counted, the first are named."""
    answer = await running.get("/api/orders?" + "&".join(f"p{number}=1" for number in range(900)))
    assert answer.json["error"]["details"]["count"] == 900
    assert len(answer.body) < 3_000


def with_extra(*place: str | int) -> dict[str, Any]:
    """An order with a field at a place that its contract doesn't have."""
    data: dict[str, Any] = json.loads(json.dumps(order()))
    inner: Any = data
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = {"any": "thing"}
    return data


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (with_extra("colour"), "data.colour"),
        (with_extra("lines", 1, "colour"), "data.lines.1.colour"),
        (envelope(with_extra("colour")), "data.colour"),
        (envelope(colour=1), "colour"),
        (with_extra("order_ID"), "data.order_ID"),
    ],
)
async def test_an_unknown_field_is_refused_by_its_name_where_that_is_set(
    registry: Registry, body: dict[str, Any], field: str
) -> None:
    """At the door, while somebody hears of it."""
    running = Running(registry, REFUSING)
    answer = await running.post("/api/orders", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert [one["field"] for one in answer.json["error"]["details"]["errors"]] == [field]
    assert running.lanes.sent == []


async def test_what_a_contract_knows_is_taken_where_unknown_fields_are_refused(registry: Registry) -> None:
    """Every form; a CloudEvent's own extensions are no fields of the contract."""
    running = Running(registry, REFUSING)
    assert (await running.post("/api/orders", order())).status == 202
    assert (await running.post("/api/credit-notes", credit_note())).status == 202
    assert (await running.post("/api/messages", envelope())).status == 202
    event = {**CLOUD_EVENT, "data": order()}
    assert (await running.post("/api/messages", event, kind="application/cloudevents+json")).status == 202


async def test_a_route_that_exists_tolerates_them_unless_that_is_set(running: Running) -> None:
    """Its senders were answered 202 until now."""
    assert (await running.post("/api/orders", with_extra("colour"))).status == 202


class Parcel(Contract):
    """A parcel."""

    parcel_id: str
    weights: dict[str, float] = Field(default_factory=dict)


async def test_a_new_version_of_a_route_refuses_them_by_itself() -> None:
    """Nobody sends it yet."""
    parcels = Integration("parcels")

    @parcels.handles("parcel.sent", version="1.0", key="parcelId", route="parcels")
    @parcels.handles("parcel.sent", version="2.0", key="parcelId", route="v2/parcels")
    async def send(parcel: Parcel, work: object) -> None:
        """Nothing."""

    running = Running(Registry([parcels]))
    sent = {"parcelId": "1", "weights": {"any": 1.0}}
    assert (await running.post("/api/parcels", {**sent, "colour": 1})).status == 202
    assert (await running.post("/api/v2/parcels", sent)).status == 202
    answer = await running.post("/api/v2/parcels", {**sent, "colour": 1})
    assert (answer.status, answer.json["error"]["details"]["count"]) == (400, 1)


async def test_a_field_nobody_knows_is_quoted_in_short(registry: Registry) -> None:
    """Also thousands of them."""
    answer = await Running(registry, REFUSING).post(
        "/api/orders", order(**{f"{n}{'x' * 900}": 1 for n in range(2_000)})
    )
    assert (answer.status, answer.json["error"]["details"]["count"]) == (400, 2_000)
    assert len(answer.body) < 5_000


async def test_lane_and_hub_tolerate_what_the_door_refuses_and_count_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback must not kill what a newer release has accepted: seen after 202, an unknown field is no failure."""
    counted: list[tuple[float, str]] = []
    monkeypatch.setattr(
        Metrics.unknown_fields, "add", lambda amount, **of: counted.append((amount, of["event_type"])), raising=False
    )
    newer = Running(registry)
    await newer.post("/api/orders", order(colour="red", lines=[line(batch="7"), line(batch="8")]))
    rolled_back = newer.another()
    (sent,) = newer.lanes.sent
    delivery = Delivery(
        body=sent.body,
        properties={str(name): value for name, value in sent.headers.to_properties().items()},
        message_id="",
        sequence_number=1,
        delivery_count=1,
    )
    await rolled_back.composition.get(processor).process(sent.headers.lane, [delivery])
    assert rolled_back.dead_letters.letters == {}
    (event,) = rolled_back.publisher.facts
    body = json.loads(event.body)
    body["data"]["mood"] = "good"
    read = StreamEvent(body=json.dumps(body).encode(), partition="0", offset="0", sequence_number=0)
    await rolled_back.composition.get(projector).project([read])
    assert (await rolled_back.get("/api/orders/536365")).status == 200
    assert counted == [(3, "order.placed"), (1, "order.accepted")]
