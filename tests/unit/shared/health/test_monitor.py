"""Dependencies are asked in the background, each on its own, and never oftener than they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from shared.health import Check, Component, Degraded, Monitor, Status, overall
from tests.unit.virtual_time import VirtualTime


class Dependency:
    """Something that is asked; `seconds` is what an answer takes, None never comes."""

    def __init__(self, seconds: float | None = 0.01) -> None:
        self.seconds = seconds
        self.error: Exception | None = None
        self.asked_at: list[float] = []
        self.at_once = self.most_at_once = 0

    async def ask(self) -> Mapping[str, Any] | None:
        """As a probe does."""
        self.asked_at.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.seconds is None:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(self.seconds)
            if self.error is not None:
                raise self.error
        finally:
            self.at_once -= 1
        return {"size": 3}


def monitor(**checks: Check) -> Monitor:
    """On the loop's own time."""
    return Monitor(checks, clock=asyncio.get_running_loop().time)


async def statuses(of: Monitor) -> dict[str, str]:
    return {one.name: one.status.value for one in await of.components()}


Test = Callable[[], Coroutine[Any, Any, None]]


def moved(test: Test) -> Callable[[], None]:
    """A test whose time is moved: nothing waits for real."""

    def run() -> None:
        time = VirtualTime()
        try:
            time.run(test())
        finally:
            time.close()

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@moved
async def test_a_hundred_callers_cost_one_call_an_interval() -> None:
    """Also over a long time, whatever they hit it with."""
    store = Dependency()
    watch = monitor(store=Check(ask=store.ask, interval=5))
    for _ in range(60):
        answers = await asyncio.gather(*(statuses(watch) for _ in range(100)))
        assert all(answer == {"store": "Healthy"} for answer in answers)
        await asyncio.sleep(1)
    gaps = [later - earlier for earlier, later in zip(store.asked_at, store.asked_at[1:], strict=False)]
    assert 11 <= len(store.asked_at) <= 13
    assert min(gaps) >= 5 - 1e-9
    assert store.most_at_once == 1
    await watch.close()


@moved
async def test_calls_are_no_part_of_what_the_first_reader_was_doing() -> None:
    """Its span would be the parent of all that is ever asked; nor does a call leave anything to the next one."""
    doing: ContextVar[str] = ContextVar("doing", default="nothing")
    seen: list[str] = []

    async def ask() -> None:
        seen.append(doing.get())
        doing.set("a call")

    watch = monitor(store=Check(ask=ask, interval=5))
    doing.set("a request")
    for _ in range(3):
        await watch.components()
        await asyncio.sleep(6)
    assert seen[:3] == ["nothing"] * 3
    await watch.close()


@moved
async def test_the_first_answer_waits_for_the_slowest_and_no_longer() -> None:
    """All are asked side by side."""
    loop = asyncio.get_running_loop()
    slow = [Dependency(0.4) for _ in range(5)]
    watch = monitor(**{f"d{number}": Check(ask=one.ask) for number, one in enumerate(slow)})
    began = loop.time()
    assert set((await statuses(watch)).values()) == {"Healthy"}
    assert loop.time() - began == pytest.approx(0.4)
    await watch.close()


@moved
async def test_what_freezes_is_named_within_its_interval() -> None:
    """As slow as soon as it is, and as unreachable after the time-out; it is well again with its first answer."""
    loop = asyncio.get_running_loop()
    broker = Dependency()
    check = Check(ask=broker.ask, interval=5, timeout=2, threshold=0.5)
    watch = monitor(broker=check)
    await watch.components()
    broker.seconds, frozen = None, loop.time()
    seen: dict[str, float] = {}
    while loop.time() - frozen < 20:
        (found,) = await watch.components()
        seen.setdefault(found.status.value, loop.time() - frozen)
        await asyncio.sleep(0.1)
    assert 0 < seen["Degraded"] <= check.interval + check.threshold + 0.2
    assert seen["Unhealthy"] <= check.interval + check.timeout + 0.2
    assert found.status is Status.UNHEALTHY
    assert found.description == "No answer within 2 s."
    broker.seconds = 0.01
    await asyncio.sleep(check.interval + check.timeout)
    assert await statuses(watch) == {"broker": "Healthy"}
    await watch.close()


@moved
async def test_what_is_away_stays_so_until_it_answers() -> None:
    """Between one time-out and the next too: an instance that comes and goes is worse than one that is gone."""
    store = Dependency(None)
    watch = monitor(store=Check(ask=store.ask))
    await watch.components()
    await asyncio.sleep(2)
    for _ in range(300):
        assert await statuses(watch) == {"store": "Unhealthy"}
        await asyncio.sleep(0.1)
    await watch.close()


@moved
async def test_a_probe_that_can_not_be_stopped_is_left_alone() -> None:
    """It hangs for ever: there is never a second one beside it, and the others go on."""
    begun = 0

    async def stubborn() -> None:
        nonlocal begun
        begun += 1
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() > 200:
                    raise

    well = Dependency()
    watch = monitor(stubborn=Check(ask=stubborn), well=Check(ask=well.ask))
    for _ in range(60):
        found = await statuses(watch)
        await asyncio.sleep(1)
    assert found == {"stubborn": "Unhealthy", "well": "Healthy"}
    assert begun == 1
    assert len(well.asked_at) >= 11
    (hung, _) = await watch.components()
    assert hung.description == "No answer within 2 s."
    await asyncio.sleep(200)
    await watch.close()


@moved
async def test_nobody_is_asked_while_nobody_reads() -> None:
    """An idle instance costs nothing, and the first reader after a rest gets what is true now."""
    store = Dependency()
    watch = monitor(store=Check(ask=store.ask))
    await watch.components()
    await asyncio.sleep(600)
    asked = len(store.asked_at)
    assert asked <= 14
    await asyncio.sleep(600)
    assert len(store.asked_at) == asked
    store.error = ConnectionError("away")
    assert await statuses(watch) == {"store": "Unhealthy"}
    await watch.close()


@moved
async def test_slow_and_failing_answers_say_why() -> None:
    """With figures, and without the words of an exception."""
    slow, failing, made_up = Dependency(0.7), Dependency(), Dependency()
    failing.error, made_up.error = ConnectionError("secret-host"), Degraded("Cached.", {"left": "9s"})
    watch = monitor(slow=Check(ask=slow.ask), failing=Check(ask=failing.ask), made_up=Check(ask=made_up.ask))
    found = {one.name: one for one in await watch.components()}
    assert (found["slow"].status, found["slow"].description) == (Status.DEGRADED, "Answers slowly.")
    assert found["slow"].data == {"responseTime": "700ms", "threshold": "500ms", "size": 3}
    assert (found["failing"].status, found["failing"].description) == (
        Status.UNHEALTHY,
        "ConnectionError: can't be reached.",
    )
    assert (found["made_up"].status, found["made_up"].description) == (Status.DEGRADED, "Cached.")
    assert found["made_up"].data["left"] == "9s"
    await watch.close()


@moved
async def test_a_reader_does_not_wait_for_what_does_not_answer() -> None:
    """A longer time-out is nobody's to wait for: what is known by then is that there is no answer."""
    loop = asyncio.get_running_loop()
    away = Dependency(None)
    watch = monitor(away=Check(ask=away.ask, interval=60, timeout=30, threshold=1))
    began = loop.time()
    (found,) = await watch.components()
    assert loop.time() - began == pytest.approx(2.5)
    assert (found.status, found.description) == (Status.DEGRADED, "No answer within 2.5 s.")
    await watch.close()


@moved
async def test_a_process_that_stood_still_asks_anew() -> None:
    """What was known before is no answer, though its time to rest isn't over."""
    loop, store = asyncio.get_running_loop(), Dependency()
    watch = monitor(store=Check(ask=store.ask))
    await watch.components()
    store.error = ConnectionError("away")
    loop.seconds += 30  # type: ignore[attr-defined]
    assert await statuses(watch) == {"store": "Unhealthy"}
    await watch.close()


def test_weights_decide_what_the_whole_is() -> None:
    """What is unhealthy adds up; what is degraded never makes the whole unhealthy."""

    def part(status: Status, weight: float) -> Component:
        return Component(name="x", status=status, description="", weight=weight)

    assert overall([]) is Status.HEALTHY
    assert overall([part(Status.DEGRADED, 1)] * 9) is Status.DEGRADED
    assert overall([part(Status.UNHEALTHY, 0.5)]) is Status.DEGRADED
    assert overall([part(Status.UNHEALTHY, 0.5)] * 2) is Status.UNHEALTHY
    assert overall([part(Status.UNHEALTHY, 1), part(Status.HEALTHY, 1)]) is Status.UNHEALTHY


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 0}, {"timeout": 6}, {"threshold": 3}, {"threshold": 0}, {"weight": 1.1}, {"interval": float("inf")}],
)
def test_a_check_that_can_not_be_kept_is_refused(wrong: dict[str, float]) -> None:
    """Its times are in order, its weight is a share."""

    async def probe() -> None: ...

    with pytest.raises(ValueError, match="a check with"):
        replace(Check(ask=probe), **wrong)  # type: ignore[arg-type]
