"""The gate: shares by weight, nothing saved up, no place lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import WeightedBulkhead

WEIGHTS = {"high": 70.0, "normal": 20.0, "low": 10.0}


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Crowd:
    """Guests at a gate: each notes its lane when it gets in, and stays until it is let out."""

    def __init__(self, gate: WeightedBulkhead[str]) -> None:
        self.gate = gate
        self.entered: list[str] = []
        self.inside: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, lane: str, count: int = 1) -> list[asyncio.Task[None]]:
        """So many more guests of a lane."""
        more = [asyncio.create_task(self._visit(lane)) for _ in range(count)]
        self.tasks += more
        return more

    async def _visit(self, lane: str) -> None:
        async with self.gate.place(lane):
            self.entered.append(lane)
            leave = asyncio.Event()
            self.inside.append(leave)
            try:
                await leave.wait()
            finally:
                self.inside.remove(leave)

    async def go(self, count: int = 1) -> None:
        """The longest inside leave, one after the other."""
        for _ in range(count):
            self.inside[0].set()
            await settle()

    async def disperse(self) -> None:
        """Everybody goes home."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_no_more_get_in_than_there_are_places() -> None:
    """And as many as there are."""
    crowd = Crowd(WeightedBulkhead(3, WEIGHTS))
    crowd.come("low", 10)
    await settle()
    assert len(crowd.inside) == 3
    await crowd.go(4)
    assert (len(crowd.inside), len(crowd.entered)) == (3, 7)
    await crowd.disperse()


@pytest.mark.parametrize("places", [1, 7])
async def test_waiting_lanes_share_by_weight(places: int) -> None:
    """Of a hundred places seventy, twenty and ten, and low moves all along."""
    crowd = Crowd(WeightedBulkhead(places, WEIGHTS))
    for lane in ("low", "normal", "high"):
        crowd.come(lane, 150)
    await settle()
    await crowd.go(100 - places)
    counted = Counter(crowd.entered)
    for lane, share in WEIGHTS.items():
        assert abs(counted[lane] - share) <= 1 + places
    longest = max(len(run) for run in "".join("l" if lane == "low" else "." for lane in crowd.entered).split("l"))
    assert longest <= 10 + places
    await crowd.disperse()


async def test_an_idle_lanes_share_goes_to_the_others() -> None:
    """A lane alone gets every place."""
    crowd = Crowd(WeightedBulkhead(4, WEIGHTS))
    crowd.come("low", 20)
    await settle()
    await crowd.go(16)
    assert len(crowd.entered) == 20
    await crowd.disperse()


async def test_a_lane_that_was_idle_saves_nothing_up() -> None:
    """It starts at the others' pace, not with all the places that it didn't take."""
    crowd = Crowd(WeightedBulkhead(1, {"a": 1.0, "b": 1.0}))
    crowd.come("a", 200)
    await settle()
    await crowd.go(100)
    crowd.come("b", 100)
    await settle()
    seen = len(crowd.entered)
    await crowd.go(40)
    assert abs(Counter(crowd.entered[seen:])["b"] - 20) <= 1
    await crowd.disperse()


async def test_a_lane_that_was_alone_owes_nothing() -> None:
    """What it took while nobody wanted it isn't held against it."""
    crowd = Crowd(WeightedBulkhead(1, {"a": 1.0, "b": 1.0}))
    crowd.come("a", 100)
    await settle()
    await crowd.go(99)
    crowd.come("a", 50)
    crowd.come("b", 50)
    await settle()
    seen = len(crowd.entered)
    await crowd.go(40)
    assert abs(Counter(crowd.entered[seen:])["a"] - 20) <= 1
    await crowd.disperse()


async def test_who_gives_up_while_waiting_takes_no_place_and_holds_nobody_up() -> None:
    """The next in line gets in."""
    crowd = Crowd(WeightedBulkhead(1, WEIGHTS))
    crowd.come("high")
    await settle()
    for task in crowd.come("high", 5):
        await asyncio.sleep(0)
        task.cancel()
    crowd.come("low")
    await settle()
    await crowd.go()
    assert crowd.entered == ["high", "low"]
    await crowd.disperse()


async def test_who_is_cancelled_at_the_moment_of_entering_gives_the_place_back() -> None:
    """The place was given to it already; it must not be lost."""
    gate = WeightedBulkhead(1, WEIGHTS)
    crowd = Crowd(gate)
    async with gate.place("high"):
        (unlucky,) = crowd.come("high")
        await settle()
    unlucky.cancel()
    await settle()
    crowd.come("low")
    await settle()
    assert len(crowd.inside) == 1
    await crowd.disperse()


async def test_an_error_inside_gives_the_place_back() -> None:
    """Whatever is raised."""
    gate = WeightedBulkhead(1, WEIGHTS)
    for _ in range(3):
        with suppress(KeyError):
            async with asyncio.timeout(1), gate.place("low"):
                raise KeyError
    async with asyncio.timeout(1), gate.place("high"):
        pass


@given(
    places=st.integers(1, 3),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from(sorted(WEIGHTS))),
            st.tuples(st.just("go"), st.integers(0, 2)),
            st.tuples(st.just("cancel"), st.integers(0, 30)),
            st.tuples(st.just("settle"), st.none()),
        ),
        max_size=60,
    ),
)
def test_no_place_is_ever_lost_or_made(places: int, steps: list[tuple[str, Any]]) -> None:
    """Guests come, leave and give up at any moment: nobody waits while a place is free, and it is never too full."""

    async def play() -> None:
        crowd = Crowd(WeightedBulkhead(places, WEIGHTS))
        for verb, what in steps:
            if verb == "come":
                crowd.come(what)
            elif verb == "go" and what < len(crowd.inside):
                crowd.inside[what].set()
            elif verb == "cancel" and crowd.tasks:
                crowd.tasks[what % len(crowd.tasks)].cancel()
            elif verb == "settle":
                await settle()
            else:
                await asyncio.sleep(0)
            assert len(crowd.inside) <= places
        await settle()
        alive = sum(not task.done() for task in crowd.tasks)
        assert len(crowd.inside) == min(places, alive)
        await crowd.disperse()
        crowd.tasks.clear()
        crowd.come("low", places + 1)
        await settle()
        assert len(crowd.inside) == places
        await crowd.disperse()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("places", "weights"),
    [(0, {"a": 1.0}), (1, {}), (1, {"a": 0.0}), (1, {"a": -1.0}), (1, {"a": float("nan")})],
)
def test_a_gate_that_makes_no_sense_is_refused(places: int, weights: dict[str, float]) -> None:
    """When the app starts."""
    with pytest.raises(ValueError, match="must be"):
        WeightedBulkhead(places, weights)
