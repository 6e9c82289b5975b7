"""A read that waits until it has what its caller wrote: `Sluice-Min-Version`, the version that an operation tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import integrations
from functions.composition.read_models import projector
from shared.messages import discover
from shared.streams import StreamEvent
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


async def accepted(running: Running) -> tuple[str, str]:
    """An order that was processed but isn't projected yet: its address, and the version that has it."""
    answer = await running.post("/api/orders", order())
    await process(running)
    operation = await running.get(answer.headers["location"])
    (address,) = operation.json["links"]["results"]
    return address, operation.headers["sluice-version"]


async def project(running: Running) -> None:
    """What the hub has."""
    bodies = [one.body for one in running.publisher.facts]
    assert bodies
    await running.composition.get(projector).project(
        [
            StreamEvent(body=body, partition="0", offset=str(number), sequence_number=number)
            for number, body in enumerate(bodies)
        ]
    )


def test_a_read_waits_for_the_version_that_its_caller_wrote(time: VirtualTime) -> None:
    """And is answered with it, as soon as it is there."""
    running = Running(discover(integrations))

    async def story() -> None:
        address, version = await accepted(running)
        assert version == "1"
        headers = {"Sluice-Min-Version": version, "Prefer": "wait=20"}
        waiting = asyncio.ensure_future(running.get(address, **headers))
        await asyncio.sleep(5.1)
        assert not waiting.done()
        await project(running)
        answer = await waiting
        assert time.clock() < 7
        assert (answer.status, answer.headers["sluice-version"]) == (200, "1")
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.json["orderId"] == "536365"
        later = await running.get(address, **{"Sluice-Min-Version": "2"})
        assert (later.status, later.json["error"]["code"]) == (412, "PRECONDITION_FAILED")

    time.run(story())


def test_whoever_waits_in_vain_is_told_so_in_time(time: VirtualTime) -> None:
    """412, to be tried again; without `Prefer` at once."""
    running = Running(discover(integrations))

    async def story() -> None:
        address, version = await accepted(running)
        headers = {"Sluice-Min-Version": version}
        answer = await running.get(address, **headers)
        assert (answer.status, answer.headers["retry-after"]) == (412, "1")
        assert time.clock() < 0.1
        answer = await running.get(address, **headers, Prefer="wait=7")
        assert (answer.status, answer.json["retryable"]) == (412, True)
        assert 7 <= time.clock() < 7.2
        assert (await running.get(address)).status == 404

    time.run(story())


@pytest.mark.parametrize("given", ["", "-1", "1.5", "one", "9" * 19, "\xb2"])
async def test_a_version_that_is_none_is_refused(given: str) -> None:
    """Whatever it is, it asks nothing of the store."""
    running = Running(discover(integrations))
    answer = await running.get("/api/orders/1", **{"Sluice-Min-Version": given})
    assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")
