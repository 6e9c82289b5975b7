"""Batch calls: one request for the items of many messages, and an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from shared.partners import BatchCall, BatchItem, InvalidAnswer, PartnerFailed, PartnerModel, PartnerRefused
from shared.resilience import RetryPlan
from tests.unit.shared.partners.test_auth import served
from tests.unit.shared.partners.world import Label, Parcel, World, world


class KeyedParcel(PartnerModel):
    """One item."""

    key: str
    reference: str


class Parcels(PartnerModel):
    """The request."""

    parcels: Sequence[KeyedParcel]


class Outcome(PartnerModel):
    """Of one item."""

    id: str = ""
    error: str = ""


class Outcomes(PartnerModel):
    """The answer."""

    outcomes: Sequence[Outcome]


def write(items: Sequence[BatchItem[Parcel]]) -> Parcels:
    """Each with its key."""
    return Parcels(parcels=[KeyedParcel(key=key, reference=value.reference) for key, value in items])


def read(answer: Outcomes) -> list[Label | Exception]:
    """A label, or the refusal of this one."""
    return [PartnerRefused("carrier", "batch", one.error) if one.error else Label(id=one.id) for one in answer.outcomes]


MANY: BatchCall[Parcel, Label] = BatchCall("/batch", write=write, answer=Outcomes, read=read, most=10)
ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)


def answers(carrier: World, *outcomes: dict[str, str], **more: Any) -> None:
    """To the requests for many."""
    carrier.says("POST", "/batch", status=200, json={"outcomes": list(outcomes)}, **more)


async def wanted(carrier: World, *numbers: int, **options: Any) -> list[Any]:
    """By handlers of so many messages side by side."""
    calls = [carrier.calls(message_id=UUID(int=one)) for one in numbers]
    items = [Parcel(reference=str(one)) for one in numbers]
    return await asyncio.gather(
        *(one.together(MANY, item, **options) for one, item in zip(calls, items, strict=True)), return_exceptions=True
    )


async def test_one_request_has_an_outcome_for_each() -> None:
    """Also one that was refused, which is its message's alone."""
    async with world() as carrier:
        answers(carrier, {"id": "a"}, {"error": "no such country"}, {"id": "c"})
        first, second, third = await wanted(carrier, 1, 2, 3)
        assert (first.id, third.id) == ("a", "c")
        assert isinstance(second, PartnerRefused)
        (asked,) = carrier.asked
        assert b'"reference":"2"' in asked.body


async def test_an_item_has_the_same_key_in_another_batch() -> None:
    """A message that runs again is with others then."""
    async with world() as carrier:
        answers(carrier, {"id": "a"})
        answers(carrier, {"id": "a"}, {"id": "b"}, times=1)
        await wanted(carrier, 1, 2)
        await wanted(carrier, 1)
        both, alone = (Parcels.model_validate_json(one.body) for one in carrier.asked)
        assert both.parcels[0] == alone.parcels[0]
        assert carrier.asked[0].headers["idempotency-key"] != carrier.asked[1].headers["idempotency-key"]


async def test_a_request_holds_no_more_than_agreed() -> None:
    """Those that come then go in the next, and each gets its own outcome."""
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        parcels = (await request.json())["parcels"]
        sizes.append(len(parcels))
        return web.json_response({"outcomes": [{"id": one["reference"]} for one in parcels]})

    async with served(answer) as url, world(urls={"carrier": url}) as carrier:
        found = await wanted(carrier, *range(15))
        assert [one.id for one in found] == [str(one) for one in range(15)]
        assert sorted(sizes) == [5, 10]


async def test_what_fails_fails_for_all() -> None:
    """Each message is tried again by its own plan."""
    async with world(retry=ALONE) as carrier:
        carrier.says("POST", "/batch", status=500)
        found = await wanted(carrier, 1, 2)
        assert [type(one) for one in found] == [PartnerFailed] * 2


@pytest.mark.parametrize("outcomes", [0, 1, 3])
async def test_outcomes_that_are_not_the_items_are_nobodys(outcomes: int) -> None:
    """Nobody gets another's."""
    async with world() as carrier:
        answers(carrier, *[{"id": "x"}] * outcomes)
        found = await wanted(carrier, 1, 2)
        assert [type(one) for one in found] == [InvalidAnswer] * 2
        assert str(found[0]) == f"carrier: batch: answered 2 items with {outcomes} outcomes"


async def test_a_handler_that_gives_up_takes_nobody_along() -> None:
    """What it wanted isn't sent, where it hasn't been."""
    async with world() as carrier:
        answers(carrier, {"id": "b"})
        leaving = asyncio.create_task(carrier.calls().together(MANY, Parcel(reference="1")))
        staying = asyncio.create_task(carrier.calls().together(MANY, Parcel(reference="2")))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await staying).id == "b"
        assert b'"1"' not in carrier.asked[0].body


@pytest.mark.parametrize("most", [1, 50])
@pytest.mark.parametrize("started", [False, True])
async def test_items_that_wait_for_others_end_with_the_partner(most: int, started: bool) -> None:
    """Nobody waits for a request that is never made."""
    patient = BatchCall("/batch", write=write, answer=Outcomes, read=read, most=most, wait=1)
    async with world() as carrier:
        waiting = asyncio.create_task(carrier.calls().together(patient, Parcel(reference="1")))
        await asyncio.sleep(0.01 if started else 0)
        await carrier.partners.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not carrier.asked


async def test_an_outcome_is_written_down() -> None:
    """A second run finds it, and asks nobody."""
    async with world() as carrier:
        answers(carrier, {"id": "a"}, times=1)
        for _ in range(2):
            (found,) = await wanted(carrier, 1, once=Label)
            assert found.id == "a"
        assert len(carrier.asked) == 1


@pytest.mark.parametrize("options", [{"most": 0}, {"most": True}, {"most": 10_000}, {"wait": -1}, {"wait": 2}])
def test_bounds_are_checked(options: dict[str, Any]) -> None:
    """Where it is declared."""
    with pytest.raises(ValueError, match="BatchCall"):
        BatchCall("/batch", write=write, answer=Outcomes, read=read, **options)
