"""A light lane goes in slices while a heavier one is at work, and never stands still."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import LaneTurns, Share
from shared.resilience.lane_shares import CALM_SECONDS, SLOW_SECONDS

SHARES = {"high": Share(weight=70, slice=64), "low": Share(weight=10, slice=4)}


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def sizes(turns: LaneTurns[str], lane: str, count: int, clock: Clock, took: float = 0.0) -> list[int]:
    """The slices of a batch."""
    found = []
    async for piece in turns.slices(lane, range(count)):
        found.append(len(piece))
        clock.now += took
    return found


async def test_alone_a_batch_goes_at_once() -> None:
    """And the heaviest lane always does."""
    turns = LaneTurns(SHARES, clock=(clock := Clock()))
    assert await sizes(turns, "low", 64, clock) == [64]
    with turns.at_work("low"):
        assert await sizes(turns, "high", 100, clock) == [100]


async def test_beside_a_heavier_lane_it_goes_in_slices_until_that_has_been_calm_for_a_while() -> None:
    """The next heavy message is likely to come soon after the last."""
    turns = LaneTurns(SHARES, clock=(clock := Clock()))
    with turns.at_work("high"):
        assert await sizes(turns, "low", 10, clock) == [4, 4, 2]
    clock.now += CALM_SECONDS - 0.1
    assert await sizes(turns, "low", 10, clock) == [4, 4, 2]
    clock.now += 0.2
    assert await sizes(turns, "low", 10, clock) == [10]


async def test_slices_that_wait_for_something_slow_grow() -> None:
    """Handlers that take long don't run four at a time for ever."""
    turns = LaneTurns(SHARES, clock=(clock := Clock()))
    with turns.at_work("high"):
        assert await sizes(turns, "low", 64, clock, took=SLOW_SECONDS * 1.1) == [4, 8, 16, 32, 4]


async def test_between_two_slices_the_heavier_lane_is_let_through() -> None:
    """The light one goes on when it is done."""
    turns = LaneTurns(SHARES, clock=(clock := Clock()))
    order: list[str] = []
    going = asyncio.Event()

    async def heavy() -> None:
        with turns.at_work("high"):
            await going.wait()
            await asyncio.sleep(0)
            order.append("high")

    task = asyncio.create_task(heavy())
    await asyncio.sleep(0)
    async for piece in turns.slices("low", range(8)):
        order.append(f"low {piece[0]}")
        clock.now += 0.2
        going.set()
    await task
    assert order == ["low 0", "high", "low 4"]


async def test_a_heavier_lane_that_never_ends_doesnt_stop_it() -> None:
    """It waits a few times as long as its last slice took."""
    turns = LaneTurns(SHARES, clock=(clock := Clock()))
    with turns.at_work("high"):
        async with asyncio.timeout(5):
            assert await sizes(turns, "low", 12, clock, took=0.001) == [4, 4, 4]


@given(count=st.integers(0, 200), slice_=st.integers(1, 70), took=st.sampled_from([0.0, 1.0]))
def test_every_message_comes_once_and_in_order(count: int, slice_: int, took: float) -> None:
    """However the batch is cut."""
    turns = LaneTurns({"a": Share(weight=2, slice=1), "b": Share(weight=1, slice=slice_)}, clock=(clock := Clock()))
    found: list[int] = []

    async def go() -> None:
        with turns.at_work("a"):
            pass
        async for piece in turns.slices("b", range(count)):
            found.extend(piece)
            clock.now += took

    asyncio.run(go())
    assert found == list(range(count))


@pytest.mark.parametrize(("weight", "slice_"), [(0, 1), (-1, 1), (1, 0)])
def test_a_share_is_something(weight: float, slice_: int) -> None:
    """Nobody is starved by a setting."""
    with pytest.raises(ValueError, match="weight"):
        Share(weight=weight, slice=slice_)
