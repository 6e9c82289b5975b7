"""Operations that are waited for: `Prefer: wait=…`, and what an answer says of a message's end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ServiceRequestError

import integrations
from functions.operations import wanted_wait
from shared.messages import Contract, Integration, Registry, Retry, discover
from shared.work import Work
from tests.unit.virtual_time import VirtualTime

from .conftest import Running
from .samples import order
from .test_bulk_answers import process


@pytest.fixture
def time() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    found = VirtualTime()
    yield found
    found.close()


async def accepted(running: Running) -> str:
    """An order that waits; where to ask."""
    answer = await running.post("/api/orders", order())
    assert answer.headers["retry-after"] == "1"
    return answer.headers["location"]


def test_who_waits_is_answered_as_soon_as_it_is_known(time: VirtualTime) -> None:
    """With a link to what was made."""
    running = Running(discover(integrations))

    async def story() -> None:
        location = await accepted(running)
        waiting = asyncio.ensure_future(running.get(location, Prefer="respond-async, wait=20"))
        await asyncio.sleep(7.2)
        assert not waiting.done()
        await process(running)
        answer = await waiting
        assert time.clock() < 9
        assert answer.headers["preference-applied"] == "wait=20"
        assert "retry-after" not in answer.headers
        assert (answer.json["status"], answer.json["state"]) == ("succeeded", "succeeded")
        assert answer.json["links"] == {"results": ["/api/orders/536365"]}

    time.run(story())


def test_who_has_waited_long_enough_learns_that_it_waits(time: VirtualTime) -> None:
    """At two reads a second."""
    running = Running(discover(integrations))

    async def story() -> None:
        location = await accepted(running)
        answer = await running.get(location, Prefer="wait=20")
        assert 20 <= time.clock() < 20.1
        assert (answer.status, answer.json["state"], answer.headers["retry-after"]) == (200, "accepted", "1")
        assert running.state.finds <= 50

    time.run(story())


def test_who_comes_when_too_many_wait_is_answered_at_once(time: VirtualTime) -> None:
    """And not told that anybody waited."""
    running = Running(discover(integrations))

    async def story() -> None:
        location = await accepted(running)
        waiting = [asyncio.ensure_future(running.get(location, Prefer="wait=5")) for _ in range(32)]
        await asyncio.sleep(1)
        answer = await running.get(location, Prefer="wait=5")
        assert time.clock() < 2
        assert "preference-applied" not in answer.headers
        assert {(await one).json["status"] for one in waiting} == {"accepted"}

    time.run(story())


@pytest.mark.parametrize(
    ("preferences", "seconds"),
    [
        ([], 0),
        (["wait=5"], 5),
        (["respond-async", "Wait = 7 , x"], 7),
        (["wait=9999"], 20),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=99999999999"], 0),
        (["await=5", "wait"], 0),
        (["," * 5_000 + "wait=5"], 0),
    ],
)
def test_what_is_no_wait_is_ignored(preferences: list[str], seconds: int) -> None:
    """As RFC 7240 says of preferences that aren't known."""
    assert wanted_wait(preferences) == seconds


class Parcel(Contract):
    """A parcel."""

    parcel_id: str


async def test_what_is_tried_again_says_when() -> None:
    """And which attempt it is; once it has ended, only how."""
    found, clock, failing = Integration("parcels"), [datetime(2026, 1, 5, tzinfo=UTC)], [True]

    @found.handles("parcel.scanned", key="parcelId", route="parcels")
    async def scan(parcel: Parcel, work: Work) -> None:
        if failing:
            raise Retry("the belt is jammed", after=60)
        await work.save("parcel", parcel.parcel_id, parcel)

    running = Running(Registry([found]), now=lambda: clock[0])
    answer = await running.post("/api/parcels", {"parcelId": "P1"})
    location = answer.headers["location"]
    assert (await running.get(location)).json["state"] == "accepted"
    await process(running)
    told = (await running.get(location)).json
    assert (told["status"], told["state"], told["attempt"]) == ("accepted", "retrying", 2)
    assert told["nextTry"] == "2026-01-05T00:01:00.000Z"
    clock[0] += timedelta(seconds=60)
    assert (await running.get(location)).json["state"] == "processing"
    await process(running)
    told = (await running.get(location)).json
    assert (told["state"], told["attempt"]) == ("retrying", 3)
    failing.clear()
    await process(running)
    told = (await running.get(location)).json
    assert (told["state"], "attempt" in told, "nextTry" in told) == ("succeeded", False, False)


async def test_a_retry_that_can_not_be_noted_is_tried_all_the_same() -> None:
    """Nothing depends on it."""
    found = Integration("parcels")

    @found.handles("parcel.scanned", key="parcelId", route="parcels")
    async def scan(parcel: Parcel, work: Work) -> None:
        raise Retry("the belt is jammed", after=60)

    running = Running(Registry([found]))

    async def fails(*_: object, **__: object) -> None:
        raise ServiceRequestError("away")

    running.state.keep_retry = fails  # type: ignore[method-assign]
    await running.post("/api/parcels", {"parcelId": "P1"})
    await process(running)
    assert [one.headers.attempt for one in running.lanes.sent] == [2]
