"""The kit's partners: they answer as a test says, and what is declared for calls holds."""

from __future__ import annotations

import pytest

from shared.messages import Category, Contract, Integration
from shared.partners import Partner, PartnerModel, PartnerRefused
from shared.testing import AnsweringPartner, Memory, run
from shared.work import Work

carrier = Partner("carrier")
parcels = Integration("parcels")


class Ask(PartnerModel):
    """To the carrier."""

    reference: str


class Label(PartnerModel):
    """From the carrier."""

    id: str


class Parcel(Contract):
    """A command, and what is kept of it."""

    parcel_id: str
    label: str = ""


@parcels.handles("parcel.packed", key="parcelId")
async def pack(parcel: Parcel, work: Work) -> None:
    """Has a label made."""
    made = await work.call(carrier).post("/labels", Label, Ask(reference=parcel.parcel_id), query={"size": "A6"})
    await work.save("parcel", parcel.parcel_id, Parcel(parcel_id=parcel.parcel_id, label=made.id))


PACKED = {"parcelId": "P1"}


@pytest.fixture
def api() -> AnsweringPartner:
    """A carrier that makes labels."""
    made = AnsweringPartner(carrier)
    made.answers("POST", "/labels", Label(id="L1"))
    return made


async def test_a_handler_gets_the_answer_that_the_test_gives(api: AnsweringPartner) -> None:
    """And the test sees the call."""
    outcome = await run(parcels, "parcel.packed", PACKED, partners=[api])
    assert outcome.saved["parcel", "P1"] == Parcel(parcel_id="P1", label="L1")
    (asked,) = api.calls("POST", "/labels")
    assert (asked.body, dict(asked.query)) == ({"reference": "P1"}, {"size": "A6"})
    assert asked.headers["Idempotency-Key"]
    assert api.calls("GET") == []


async def test_failures_are_tried_again_without_waiting(api: AnsweringPartner) -> None:
    """As in the app: with the same key."""
    api.answers(status=503, headers={"Retry-After": "30"}, times=1)
    api.answers(broken=True, times=1)
    assert (await run(parcels, "parcel.packed", PACKED, partners=[api])).done
    assert len({one.headers["Idempotency-Key"] for one in api.asked}) == 1
    assert len(api.asked) == 3


async def test_a_refusal_is_the_messages_failure(api: AnsweringPartner) -> None:
    """With the status."""
    api.answers(status=422, body={"code": "NO"})
    failed = (await run(parcels, "parcel.packed", PACKED, partners=[api])).failed
    assert failed is not None
    assert failed.category is Category.PERMANENT
    assert isinstance(failed.error, PartnerRefused)
    assert failed.error.status == 422


async def test_an_open_breaker_puts_a_message_off(api: AnsweringPartner) -> None:
    """After the failures of the messages before it, within one memory."""
    memory = Memory(partners=[api])
    api.answers(broken=True)
    for _ in range(2):
        await memory.run(parcels, "parcel.packed", PACKED)
    asked = len(api.asked)
    put_off = (await memory.run(parcels, "parcel.packed", PACKED)).retried
    assert put_off is not None
    assert put_off.after is not None
    assert put_off.after >= 59
    assert len(api.asked) == asked


async def test_a_call_that_the_test_forgot_is_no_answer() -> None:
    """It fails by the name of what was asked."""
    failed = (await run(parcels, "parcel.packed", PACKED, partners=[AnsweringPartner(carrier)])).failed
    assert failed is not None
    assert "POST /labels" in failed.reason
