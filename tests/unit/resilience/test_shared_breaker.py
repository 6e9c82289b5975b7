"""The circuit breaker: what opens it, who probes, and what several instances know of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.resilience import BreakerOpen, BreakerPolicy, FailureWindow, Result, SharedBreaker, Snapshot
from tests.unit.virtual_time import VirtualTime

GOOD, FAILED, REFUSED = Result.GOOD, Result.FAILED, Result.REFUSED
LONGEST = 10.0


@dataclass
class MemoryRow:
    """A row that every instance sees; each call takes its time, and fails while the store is away."""

    delay: Callable[[], float] = lambda: 0.0
    kept: Snapshot = field(default_factory=Snapshot)
    reads: int = 0
    writes: int = 0
    away: bool = False
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def _meet(self) -> None:
        await asyncio.sleep(self.delay())
        if self.away:
            raise ConnectionError("the store is away")

    async def read(self) -> Snapshot:
        """What is there when the answer leaves."""
        await self._meet()
        self.reads += 1
        found = self.kept
        await self._meet()
        return found

    async def write(self, values: Mapping[str, Any], expected: Snapshot) -> Snapshot | None:
        """By compare-and-set."""
        await self._meet()
        if self.kept.version != expected.version:
            return None
        self.writes += 1
        self.kept = written = Snapshot(dict(values), str(next(self._versions)))
        await self._meet()
        return written


@pytest.fixture
def moved() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    made = VirtualTime()
    yield made
    made.close()


def breaker(moved: VirtualTime, row: MemoryRow | None, **policy: Any) -> SharedBreaker:
    """An instance's side."""
    return SharedBreaker(
        BreakerPolicy(**policy), row, longest=LONGEST, clock=moved.clock, now=moved.now, random=lambda: 0.0
    )


async def call(one: SharedBreaker, result: Result, *, took: float = 0.0, asked: float | None = None) -> None:
    """A call that ends so."""
    permit = await one.admit()
    await asyncio.sleep(took)
    await one.record(permit, result, took=took, asked=asked)


async def trip(one: SharedBreaker, **options: Any) -> None:
    """Five failures in a row."""
    for _ in range(5):
        await call(one, FAILED, **options)
    assert one.is_open


@pytest.mark.parametrize(
    ("policy", "calls", "opens_with"),
    [
        ({}, [FAILED] * 5, 5),
        ({}, [FAILED, FAILED, FAILED, FAILED, GOOD] * 3 + [FAILED] * 5, 20),
        ({"rate": 1.0}, [FAILED, FAILED, FAILED, FAILED, GOOD] * 10, None),
        ({}, [GOOD, FAILED] * 20, 20),
        ({"least_calls": 6}, [GOOD, FAILED] * 20, 6),
        ({}, [GOOD, GOOD, FAILED] * 40, None),
        ({}, [REFUSED] * 10, 10),
        ({"refusals": 0}, [REFUSED] * 50, None),
        ({"failures": 0, "rate": 1.0}, [FAILED] * 30, 20),
        ({"calls": 20}, [GOOD] * 100 + [FAILED, FAILED, GOOD] * 20, 114),
    ],
    ids=str,
)
def test_what_opens_it(policy: dict[str, Any], calls: list[Result], opens_with: int | None) -> None:
    """Failures in a row, the share of failures in the window, refusals in a row; nothing else."""
    window = FailureWindow(BreakerPolicy(**policy))
    opened = [number for number, one in enumerate(calls, 1) if window.add(one, took=0.1, now=0.0)]
    assert (opened[0] if opened else None) == opens_with


def test_calls_that_are_slow_open_it() -> None:
    """Though each of them is good."""
    window = FailureWindow(BreakerPolicy(slow=2.0, least_calls=10))
    assert [bool(window.add(GOOD, took=took, now=0.0)) for took in [1.9] * 2 + [2.0] * 8] == [False] * 9 + [True]


def test_what_is_long_ago_does_not_count() -> None:
    """Failures an hour apart are no outage."""
    window = FailureWindow(BreakerPolicy(failures=0, least_calls=2))
    assert not any(window.add(FAILED, took=0, now=float(hour * 3_600)) for hour in range(50))


def test_how_long_it_stays_open() -> None:
    """Twice as long each time, never too long, but as long as the partner asks."""
    policy = BreakerPolicy()
    assert [policy.opening(times, asked=None, drawn=0) for times in (1, 2, 3, 4, 5, 500)] == [
        60,
        120,
        240,
        480,
        600,
        600,
    ]
    assert policy.opening(1, asked=900, drawn=1) == 900
    assert policy.opening(1, asked=5, drawn=1) == 75


@pytest.mark.parametrize(
    "wrong",
    [{"failures": -1}, {"calls": 0}, {"least_calls": 101}, {"rate": 0}, {"slow": 0}, {"open_for": 0}, {"open_most": 1}],
    ids=str,
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Where it is declared."""
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**wrong)


def test_while_all_is_well_nothing_is_written(moved: VirtualTime) -> None:
    """And the row is read every other second at most."""
    row = MemoryRow()

    async def work() -> None:
        one = breaker(moved, row)
        for _ in range(1_000):
            await call(one, GOOD, took=0.01)

    moved.run(work())
    assert row.writes == 0
    assert row.reads <= 6


def test_all_instances_know_within_five_seconds(moved: VirtualTime) -> None:
    """One of four sees the failures; the others refuse soon after, without one of their own, and so they close."""
    row = MemoryRow(delay=lambda: 0.05)

    async def learns(one: SharedBreaker) -> float:
        while not one.is_open:
            try:
                await call(one, GOOD, took=0.1)
            except BreakerOpen:
                break
        return moved.clock()

    async def work() -> None:
        first, *others = [breaker(moved, row) for _ in range(4)]
        for one in others:
            await call(one, GOOD)
        waiting = [asyncio.create_task(learns(one)) for one in others]
        await trip(first)
        opened = moved.clock()
        assert max(await asyncio.gather(*waiting)) - opened < 5
        await asyncio.sleep(61)
        await call(first, GOOD)
        await asyncio.sleep(3)
        for one in others:
            await call(one, GOOD)
        assert row.writes == 3  # opened, probed, closed

    moved.run(work())


def test_while_it_is_open_nobody_calls(moved: VirtualTime) -> None:
    """The refusal says when it ends; a probe that fails makes it longer, a good one closes it."""
    row = MemoryRow()

    async def work() -> None:
        one = breaker(moved, row)
        await trip(one)
        with pytest.raises(BreakerOpen) as refused:
            await one.admit()
        assert refused.value.after == pytest.approx(60)
        await asyncio.sleep(60)
        await call(one, FAILED, asked=300)
        with pytest.raises(BreakerOpen) as refused:
            await one.admit()
        assert refused.value.after == pytest.approx(300)
        await asyncio.sleep(300)
        await call(one, GOOD)
        await call(one, GOOD)

    moved.run(work())


def test_a_probe_that_dies_is_taken_over(moved: VirtualTime) -> None:
    """After its lease; what it may still report is of a time that is over."""
    row = MemoryRow()

    async def work() -> None:
        one, other = breaker(moved, row), breaker(moved, row)
        await trip(one)
        await asyncio.sleep(60)
        dead = await one.admit()
        assert dead.probe
        with pytest.raises(BreakerOpen) as refused:
            await other.admit()
        assert refused.value.after == pytest.approx(LONGEST + 5)
        await asyncio.sleep(LONGEST + 5)
        assert (await other.admit()).probe
        await one.record(dead, GOOD, took=0)
        assert one.is_open

    moved.run(work())


def test_without_a_store_each_decides_alone(moved: VirtualTime) -> None:
    """It opens, probes and closes; when the store is back, it shares what it knows."""
    row = MemoryRow(away=True)

    async def work() -> None:
        one = breaker(moved, row)
        await trip(one)
        with pytest.raises(BreakerOpen):
            await one.admit()
        row.away = False
        await asyncio.sleep(3)
        with pytest.raises(BreakerOpen):
            await one.admit()
        with pytest.raises(BreakerOpen):
            await breaker(moved, row).admit()
        row.away = True
        await asyncio.sleep(60)
        await call(one, GOOD)
        assert not one.is_open

    moved.run(work())


def test_one_probe_at_a_time_in_a_thousand_races() -> None:
    """Instances that come at any moment, over a store that takes any time: never two probes side by side."""
    for seed in range(1_000):
        draw = random.Random(seed)
        moved = VirtualTime()
        try:
            moved.run(_race(moved, draw))
        finally:
            moved.close()


async def _race(moved: VirtualTime, draw: random.Random) -> None:
    row = MemoryRow(delay=lambda: draw.choice([0.0, 0.0, 0.01, 0.2]))
    instances = [breaker(moved, row, open_for=1.0, open_most=4.0) for _ in range(4)]
    probing = probes = 0

    async def use(one: SharedBreaker) -> None:
        nonlocal probing, probes
        for _ in range(6):
            await asyncio.sleep(draw.choice([0.0, 0.01, 0.3, 1.0]))
            try:
                permit = await one.admit()
            except BreakerOpen:
                continue
            probing += permit.probe
            probes += permit.probe
            assert probing <= 1, "two probes side by side"
            await asyncio.sleep(draw.choice([0.0, 0.05, 1.0, LONGEST]))
            probing -= permit.probe
            result = draw.choice([GOOD, FAILED])
            await one.record(permit, result, took=0.0)

    await trip(instances[0])
    await asyncio.gather(*(use(one) for one in instances for _ in range(2)))
    assert row.writes >= 1


def test_a_decision_takes_microseconds() -> None:
    """To admit and to count: 20 µs of processor time are the bound, here with room for a busy machine."""

    async def work() -> float:
        one = SharedBreaker(
            BreakerPolicy(),
            None,
            longest=LONGEST,
            clock=time.monotonic,
            now=lambda: (_ for _ in ()).throw(AssertionError),
            random=random.random,
        )
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            for _ in range(2_000):
                await one.record(await one.admit(), GOOD, took=0.01)
            best = min(best, (time.process_time() - began) / 2_000)
        return best

    assert asyncio.run(work()) < 20e-6
