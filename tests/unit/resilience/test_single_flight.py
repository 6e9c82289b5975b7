"""Single-flight: one call for all who ask meanwhile; who leaves harms nobody, and no failure is remembered."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resilience import SingleFlight


class Source:
    """Answers when it is let go; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        """The number of the call."""
        self.calls += 1
        number = self.calls
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return number


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_one_call_for_all_waiters_whoever_leaves(leaves: list[bool]) -> None:
    """Also where the first leaves, or all: the call goes on, and those who stay get its answer."""

    async def run() -> None:
        source, single = Source(), SingleFlight[int]()
        waiters = [asyncio.create_task(single.call("key", source)) for _ in leaves]
        await asyncio.sleep(0)
        for waiter, leaving in zip(waiters, leaves, strict=True):
            if leaving:
                waiter.cancel()
        await asyncio.sleep(0)
        source.go.set()
        answers = await asyncio.gather(*waiters, return_exceptions=True)
        for answer, leaving in zip(answers, leaves, strict=True):
            assert isinstance(answer, asyncio.CancelledError) if leaving else answer == 1
        if (call := single.get("key")) is not None:  # where nobody stayed, it ends by itself
            await call.wait()
        assert source.calls == 1
        assert single.get("key") is None

    asyncio.run(run())


async def test_a_failure_is_everybodys_and_forgotten() -> None:
    """Who asks afterwards makes a new call."""
    source, single = Source(), SingleFlight[int]()
    source.error = ValueError("no")
    source.go.set()
    failed = await asyncio.gather(*(single.call("key", source) for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in failed] == ["no"] * 3
    source.error = None
    assert await single.call("key", source) == 2


async def test_keys_have_nothing_in_common() -> None:
    """Two calls run side by side."""
    source, single = Source(), SingleFlight[int]()
    waiting = [asyncio.create_task(single.call(key, source)) for key in ("a", "b")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.calls == 2
    source.go.set()
    assert sorted(await asyncio.gather(*waiting)) == [1, 2]


async def test_waiting_ends_without_ending_the_call() -> None:
    """For who serves something else meanwhile."""
    source, single = Source(), SingleFlight[int]()
    call = single.start("key", source)
    await call.wait(0.001)
    assert single.get("key") is call
    source.go.set()
    assert await call.answer() == 1


async def test_closing_stops_what_is_in_progress() -> None:
    """Its waiters learn of it."""
    source, single = Source(), SingleFlight[int]()
    waiter = asyncio.create_task(single.call("key", source))
    await asyncio.sleep(0)
    await single.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert single.get("key") is None
