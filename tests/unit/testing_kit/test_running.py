"""The kit does what the app does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from integrations.orders import orders
from integrations.orders.models import OrderAccepted, OrderView
from shared.messages import (
    Category,
    Contract,
    ErrorCode,
    Integration,
    Lane,
    Partial,
    Reject,
    Retry,
    UnknownEventType,
    UnknownVersion,
)
from shared.secrets import UnknownSecret
from shared.testing import Memory, Published, Retried, Sent, project, refusal, run
from shared.work import Work

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

ORDER: dict[str, Any] = {
    "orderId": "536365",
    "placedAt": "2026-01-05T08:26:00Z",
    "customerId": "17850",
    "country": "United Kingdom",
    "lines": [{"sku": "85123A", "quantity": 6, "unitPrice": 2.55}],
}


class Parcel(Contract):
    """A parcel that is scanned again and again."""

    parcel_id: str
    does: str = "count"


class Scans(Contract):
    """How often, and when last."""

    count: int
    last: datetime
    attempt: int = 1


class Shelf(Contract):
    """Where parcels lie."""

    shelf_id: str


parcels = Integration("parcels")
shelves = Integration("shelves")


@shelves.handles("shelf.cleared", key="shelfId")
async def clear(shelf: Shelf, work: Work) -> None:
    """Nothing is left."""


@parcels.handles("parcel.scanned", key="parcelId", priority=Lane.HIGH)
async def scan(parcel: Parcel, work: Work) -> None:
    """Counts, or fails as the parcel says."""
    before = await work.load("scans", parcel.parcel_id, Scans)
    now = Scans(count=(before.count if before else 0) + 1, last=work.now, attempt=work.headers.attempt)
    await work.save("scans", parcel.parcel_id, now)
    work.publish("parcel.seen", now)
    match parcel.does:
        case "retry":
            raise Retry("the belt stands still", after=timedelta(minutes=2))
        case "reject":
            raise Reject("no such parcel")
        case "half":
            raise Partial("the lorry is full", after=5)
        case "order":
            work.send("shelf.cleared", Shelf(shelf_id="s1"))
        case "break":
            raise KeyError("shelf")
        case "time out":
            raise TimeoutError
        case "delete":
            await work.delete("scans", parcel.parcel_id)
        case "meddle":
            await work.save("scans", "another parcel", now)


@parcels.projects("parcel.seen", into="scans")
def row(scans: Scans) -> Scans:
    """A row is what was said."""
    return scans


async def test_what_a_handler_saves_and_publishes_is_there_to_look_at() -> None:
    outcome = await run(orders, "order.placed", ORDER, now=START)
    view = outcome.saved["order", "536365"]
    assert isinstance(view, OrderView)
    assert (view.units, str(view.total)) == (6, "15.30")
    assert outcome.done
    ((event_type, event),) = outcome.published
    assert event_type == "order.accepted"
    assert isinstance(event, OrderAccepted)
    assert OrderView.model_validate(event.model_dump(exclude={"lines"})) == view
    assert [(line.sku, line.quantity, str(line.unit_price)) for line in event.lines or []] == [("85123A", 6, "2.55")]
    assert outcome.events[0].id == f"{outcome.message_id}:0"
    assert outcome.events[0].time == START
    assert (outcome.key, outcome.lane) == ("536365", Lane.NORMAL)


async def test_the_lane_is_the_one_the_integration_chooses() -> None:
    wholesale = ORDER | {"lines": ORDER["lines"] * 100}
    assert (await run(orders, "order.placed", wholesale)).lane is Lane.LOW


async def test_state_is_loaded_and_time_and_attempt_are_what_the_test_says() -> None:
    before = Scans(count=41, last=START)
    outcome = await run(
        parcels,
        "parcel.scanned",
        Parcel(parcel_id="p1"),
        state={("scans", "p1"): before},
        now=START + timedelta(hours=1),
        attempt=3,
    )
    assert outcome.saved == {("scans", "p1"): Scans(count=42, last=START + timedelta(hours=1), attempt=3)}


async def test_messages_of_one_memory_build_on_each_other() -> None:
    memory = Memory(now=START)
    for minute in range(3):
        memory.now = START + timedelta(minutes=minute)
        await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"})
    expected = Scans(count=3, last=START + timedelta(minutes=2))
    assert memory.state == {("scans", "p1"): expected}
    assert memory.views == {("scans", "p1"): expected}


async def test_a_second_delivery_does_nothing() -> None:
    memory = Memory(now=START)
    first = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"})
    again = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"}, message_id=first.message_id)
    assert again.duplicate
    assert not again.done
    assert not again.saved
    assert memory.state["scans", "p1"] == Scans(count=1, last=START)


async def test_the_same_id_with_another_payload_fails_as_a_conflict() -> None:
    memory, identity = Memory(now=START), uuid4()
    await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"}, message_id=identity)
    other = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "delete"}, message_id=identity)
    assert other.failed is not None
    assert other.failed.code == ErrorCode.MESSAGE_ID_CONFLICT


async def test_a_retry_keeps_nothing_and_says_when() -> None:
    memory = Memory()
    outcome = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "retry"})
    assert outcome.retried == Retried(120.0, "the belt stands still")
    assert not outcome.saved
    assert not outcome.published
    assert memory.state == {}


async def test_a_part_that_is_done_is_kept_but_nothing_is_said_of_it() -> None:
    memory = Memory(now=START)
    outcome = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "half"})
    assert outcome.retried == Retried(5, "the lorry is full")
    assert outcome.saved == memory.state == {("scans", "p1"): Scans(count=1, last=START)}
    assert not outcome.published
    assert memory.views == {}


async def test_commands_to_other_integrations_are_there_to_look_at() -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "order"}, others=[shelves])
    assert outcome.sent == (("shelf.cleared", Shelf(shelf_id="s1")),)
    assert outcome.sent == (Sent("shelf.cleared", Shelf(shelf_id="s1")),)


async def test_a_command_that_nobody_takes_fails() -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "order"})
    assert outcome.failed is not None
    assert outcome.failed.code == ErrorCode.UNKNOWN_EVENT_TYPE


async def test_facts_of_one_aggregate_are_numbered_without_a_gap() -> None:
    memory = Memory()
    outcomes = [await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"}) for _ in range(3)]
    assert [outcome.events[0].sequence for outcome in outcomes] == [1, 2, 3]


async def test_a_message_that_was_retried_is_no_duplicate_when_it_comes_back() -> None:
    memory, identity = Memory(), uuid4()
    await memory.run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "retry"}, message_id=identity)
    again = await memory.run(
        parcels, "parcel.scanned", {"parcelId": "p1", "does": "retry"}, message_id=identity, attempt=2
    )
    assert again.retried is not None


async def test_a_refusal_of_the_business_tells_its_reason() -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "reject"})
    assert outcome.rejected == "no such parcel"
    assert outcome.failed is None


@pytest.mark.parametrize(("does", "category"), [("time out", Category.TRANSIENT), ("meddle", Category.TRANSIENT)])
async def test_any_other_exception_is_sorted_by_the_failure_matrix(does: str, category: Category) -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": does})
    assert outcome.failed is not None
    assert outcome.failed.category is category
    assert not outcome.saved


async def test_a_bug_is_a_failure_and_never_looks_like_a_wanted_retry() -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "break"})
    assert outcome.retried is None
    assert outcome.failed is not None
    assert isinstance(outcome.failed.error, KeyError)


async def test_another_aggregates_state_is_out_of_reach() -> None:
    outcome = await run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "meddle"})
    assert outcome.failed is not None
    assert isinstance(outcome.failed.error, ValueError)


async def test_deleted_state_is_gone() -> None:
    memory = Memory({("scans", "p1"): Scans(count=1, last=START)})
    outcome = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1", "does": "delete"})
    assert outcome.deleted == (("scans", "p1"),)
    assert not outcome.saved
    assert memory.state == {}
    again = await memory.run(parcels, "parcel.scanned", {"parcelId": "p1"})
    assert again.saved["scans", "p1"].count == 1  # type: ignore[attr-defined]


async def test_wrong_data_is_refused_as_the_api_does_and_the_handler_is_not_called() -> None:
    wrong = ORDER | {"lines": [ORDER["lines"][0], {"sku": "1", "quantity": 0, "unitPrice": 1}]}
    outcome = await run(orders, "order.placed", wrong)
    assert outcome.invalid is not None
    assert outcome.invalid["code"] == "VALIDATION_ERROR"
    assert outcome.invalid["details"]["errors"][0]["field"] == "data.lines.1.quantity"
    assert outcome.invalid["details"]["errors"][0]["line"] == 2
    assert outcome.invalid == refusal(orders, "order.placed", wrong)


async def test_malformed_json_is_refused_as_the_api_does() -> None:
    error = refusal(orders, "order.placed", b'{"orderId": "1", "orderId": "2"}')
    assert error is not None
    assert error["code"] == "MALFORMED_JSON"
    assert refusal(orders, "order.placed", ORDER) is None


async def test_a_misspelt_event_type_does_not_pass_for_a_handler_that_did_nothing() -> None:
    with pytest.raises(UnknownEventType):
        await run(orders, "order.plcaed", ORDER)
    with pytest.raises(UnknownVersion):
        await run(orders, "order.placed", ORDER, version="9.0")
    with pytest.raises(LookupError):
        project(orders, "order.acepted", {})


async def test_a_projection_reads_the_fact_as_json() -> None:
    outcome = await run(orders, "order.placed", ORDER)
    assert project(orders, *outcome.published[0]) == {"orders": outcome.saved["order", "536365"]}


def test_a_fact_equals_the_plain_tuple() -> None:
    view = Scans(count=1, last=START)
    assert Published("parcel.seen", view) == ("parcel.seen", view)


async def test_secrets_are_given_by_name() -> None:
    """One that isn't given is unknown, as in the app; a new value is seen by the next message."""
    carrier = Integration("carrier")
    seen: list[str] = []

    @carrier.handles("parcel.labelled", key="parcel_id")
    async def label(data: Parcel, work: Work) -> None:
        seen.append((await work.secret(f"carrier-{data.does}")).value)

    memory = Memory(secrets={"carrier-eu": "first"})
    assert (await memory.run(carrier, "parcel.labelled", {"parcelId": "1", "does": "eu"})).done
    memory.secrets["carrier-eu"] = "second"
    assert (await memory.run(carrier, "parcel.labelled", {"parcelId": "2", "does": "eu"})).done
    outcome = await run(carrier, "parcel.labelled", {"parcelId": "3", "does": "us"}, secrets={"carrier-eu": "x"})
    assert outcome.failed is not None
    assert isinstance(outcome.failed.error, UnknownSecret)
    assert outcome.failed.category is Category.PERMANENT
    assert seen == ["first", "second"]
