"""Operations that are waited for: `Prefer: wait=…`, and what an answer says of a message's end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import integrations
from functions.operations import wanted_wait
from shared.messages import discover
from tests.unit.virtual_time import VirtualTime

from .conftest import Running
from .samples import order
from .test_api_operations import process


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
    """At a read a second."""
    running = Running(discover(integrations))

    async def story() -> None:
        location = await accepted(running)
        answer = await running.get(location, Prefer="wait=20")
        assert 20 <= time.clock() < 20.1
        assert (answer.status, answer.json["state"], answer.headers["retry-after"]) == (200, "accepted", "1")
        assert running.state.finds <= 25

    time.run(story())


def test_who_comes_when_too_many_wait_is_answered_at_once(time: VirtualTime) -> None:
    """And not told that anybody waited."""
    running = Running(discover(integrations))

    async def story() -> None:
        location = await accepted(running)
        waiting = [asyncio.ensure_future(running.get(location, Prefer="wait=5")) for _ in range(256)]
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
