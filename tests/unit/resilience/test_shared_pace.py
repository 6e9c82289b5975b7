"""A limit that instances keep together: never more than agreed, and hardly less, whatever they do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import Limit, LimitSpent, SharedPace
from tests.unit.resilience.test_shared_breaker import MemoryRow
from tests.unit.virtual_time import START, VirtualTime


@pytest.fixture
def moved() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    made = VirtualTime()
    yield made
    made.close()


def pace(moved: VirtualTime, row: MemoryRow | None, seed: int = 0, **limit: Any) -> SharedPace:
    """An instance's part."""
    return SharedPace(Limit(**limit), row, now=moved.now, random=random.Random(seed).random)


def most_within(moments: list[float], span: float) -> int:
    """The most calls in any span of time."""
    moments = sorted(moments)
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= span - 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


async def use(moved: VirtualTime, one: SharedPace, calls: list[float], until: float) -> None:
    """Call as often as it lets."""
    while moved.clock() < until:
        try:
            await one.take(within=until - moved.clock())
        except LimitSpent:
            return
        calls.append(moved.clock())
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("calls", "per"), [(50, 1.0), (5, 1.0), (600, 60.0)])
def test_four_instances_use_nine_tenths_and_never_more(moved: VirtualTime, calls: int, per: float) -> None:
    """Whatever second one looks at; each of the instances gets a part."""
    row = MemoryRow(delay=lambda: 0.004)
    made: list[list[float]] = [[] for _ in range(4)]
    seconds = 20 * per / (10 if per > 1 else 1)

    async def work() -> None:
        instances = [pace(moved, row, seed, calls=calls, per=per) for seed in range(4)]
        await asyncio.gather(
            *(use(moved, one, each, seconds) for one, each in zip(instances, made, strict=True) for _ in range(16))
        )

    moved.run(work())
    everything = [moment for each in made for moment in each]
    assert most_within(everything, per) <= calls
    assert len(everything) >= 0.9 * calls * seconds / per
    assert min(len(each) for each in made) > 0
    assert row.writes < len(everything) / (2 if calls == 50 else 1) + 20


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 8)), min_size=1, max_size=12),
    st.floats(0, 0.3),
)
def test_no_traffic_passes_the_limit(calls: int, bursts: list[tuple[float, int]], delay: float) -> None:
    """Bursts at any moment, over a store that takes any time."""
    moved = VirtualTime()
    row = MemoryRow(delay=lambda: delay)
    made: list[float] = []

    async def burst(one: SharedPace, at: float, size: int) -> None:
        await asyncio.sleep(at)
        await asyncio.gather(*(call(one) for _ in range(size)))

    async def call(one: SharedPace) -> None:
        try:
            await one.take(within=2)
        except LimitSpent:
            return
        made.append(moved.clock())

    async def work() -> None:
        instances = [pace(moved, row, seed, calls=calls) for seed in range(3)]
        await asyncio.gather(*(burst(instances[n % 3], at, size) for n, (at, size) in enumerate(bursts)))

    try:
        moved.run(work())
    finally:
        moved.close()
    assert most_within(made, 1.0) <= calls


def test_who_cannot_wait_is_told_how_long(moved: VirtualTime) -> None:
    """And takes nothing from the others."""
    row = MemoryRow()

    async def work() -> None:
        one, other = pace(moved, row, calls=1), pace(moved, row, calls=1)
        await one.take(within=0)
        with pytest.raises(LimitSpent) as spent:
            await other.take(within=0.5)
        assert spent.value.after == pytest.approx(1 / 0.94, abs=0.01)
        await other.take(within=2)

    moved.run(work())
    assert row.writes == 2


def test_a_partner_that_asks_for_peace_gets_it_from_all(moved: VirtualTime) -> None:
    """Also from the instance that it didn't say it to, whatever that has leased."""
    row = MemoryRow()

    async def work() -> None:
        one, other = pace(moved, row, calls=10), pace(moved, row, calls=10)
        await one.take(within=1)
        await one.pause(5)
        await other.take(within=10)
        assert moved.clock() >= 5

    moved.run(work())


def test_without_a_store_each_keeps_to_a_part(moved: VirtualTime) -> None:
    """A quarter: four instances don't pass the limit."""
    row = MemoryRow(away=True)
    made: list[float] = []

    async def work() -> None:
        await use(moved, pace(moved, row, calls=40), made, 10.0)

    moved.run(work())
    assert 80 <= len(made) <= 101


@pytest.mark.parametrize("wrong", [{"calls": 0}, {"calls": True}, {"calls": 1, "per": 0}], ids=str)
def test_a_limit_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Where it is declared."""
    with pytest.raises(ValueError, match="limit"):
        Limit(**wrong)


def test_a_decision_takes_microseconds() -> None:
    """Of a moment that was leased: 20 µs of processor time are the bound."""

    async def work() -> float:
        one = SharedPace(Limit(calls=1_000_000), None, now=lambda: START, random=random.random)
        best = float("inf")
        for _ in range(5):
            one._moments.extend([START.timestamp()] * 2_000)
            began = time.process_time()
            for _ in range(2_000):
                await one.take(within=1)
            best = min(best, (time.process_time() - began) / 2_000)
        return best

    assert asyncio.run(work()) < 20e-6
