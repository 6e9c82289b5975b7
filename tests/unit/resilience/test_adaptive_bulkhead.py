"""How many calls run side by side: learned from the partner, with room for those that somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from shared.resilience import AdaptiveBulkhead, BulkheadFull, Concurrency
from tests.unit.virtual_time import VirtualTime


@pytest.fixture
def moved() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    made = VirtualTime()
    yield made
    made.close()


def bulkhead(moved: VirtualTime, **policy: Any) -> AdaptiveBulkhead:
    """On that time."""
    return AdaptiveBulkhead(Concurrency(**policy), clock=moved.clock)


async def partner(moved: VirtualTime, one: AdaptiveBulkhead, capacity: int, seconds: float) -> list[int]:
    """A partner that answers 429 to all beyond its capacity: the calls that ran side by side, one value a second."""
    seen: list[int] = []

    async def call() -> None:
        while moved.clock() < seconds:
            await one.enter(batch=False, within=60)
            too_much = one.running > capacity
            await asyncio.sleep(0.05)
            one.exit(batch=False, overloaded=too_much, took=0.05)

    async def look() -> None:
        while moved.clock() < seconds:
            await asyncio.sleep(1)
            seen.append(one.limit)

    await asyncio.gather(look(), *(call() for _ in range(60)))
    return seen


@pytest.mark.parametrize("capacity", [5, 20])
def test_it_finds_what_the_partner_can_take(moved: VirtualTime, capacity: int) -> None:
    """From above: after a while it swings around the partner's capacity."""
    seen = moved.run(partner(moved, bulkhead(moved), capacity, 60.0))
    settled = seen[30:]
    assert capacity * 0.4 <= min(settled)
    assert max(settled) <= capacity * 2 + 4


def test_it_grows_back(moved: VirtualTime) -> None:
    """To the most, once the partner takes all."""

    async def work() -> None:
        one = bulkhead(moved, most=20)
        for _ in range(10):
            await asyncio.sleep(2)
            await one.enter(batch=False, within=0)
            one.exit(batch=False, overloaded=True, took=1)
        assert one.limit == 1
        await partner(moved, one, 1_000, moved.clock() + 30)
        assert one.limit == 20

    moved.run(work())


def test_slow_answers_make_it_smaller(moved: VirtualTime) -> None:
    """Before the partner refuses anything."""

    async def work() -> None:
        one = bulkhead(moved, most=10, slow=2.0)
        for took in (1.9, 2.0):
            await one.enter(batch=False, within=0)
            one.exit(batch=False, overloaded=False, took=took)
        assert one.limit == 1  # of the one that ran

    moved.run(work())


def test_batch_calls_leave_room_for_live_ones(moved: VirtualTime) -> None:
    """They take half of the places, and none before a live call that waits."""

    async def work() -> None:
        one = bulkhead(moved, most=4)
        for _ in range(2):
            await one.enter(batch=True, within=0)
        with pytest.raises(BulkheadFull):
            await one.enter(batch=True, within=0.1)
        for _ in range(2):
            await one.enter(batch=False, within=0)
        order: list[str] = []

        async def wait(*, batch: bool) -> None:
            await one.enter(batch=batch, within=10)
            order.append("batch" if batch else "live")

        waiting = [asyncio.create_task(wait(batch=batch)) for batch in (True, False)]
        await asyncio.sleep(0.1)
        one.exit(batch=True, overloaded=False, took=0)
        one.exit(batch=False, overloaded=False, took=0)
        await asyncio.gather(*waiting)
        assert order == ["live", "batch"]

    moved.run(work())


def test_who_gives_up_takes_no_place(moved: VirtualTime) -> None:
    """Cancelled while waiting, or just when the place was given."""

    async def work() -> None:
        one = bulkhead(moved, most=1)
        await one.enter(batch=False, within=0)
        waiting = [asyncio.create_task(one.enter(batch=False, within=10)) for _ in range(3)]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        one.exit(batch=False, overloaded=False, took=0)
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert one.running == 1

    moved.run(work())


@pytest.mark.parametrize("wrong", [{"least": 0}, {"most": 0}, {"batch": 0}, {"slow": 0}], ids=str)
def test_bounds_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Where they are declared."""
    with pytest.raises(ValueError, match="concurrency"):
        Concurrency(**wrong)
