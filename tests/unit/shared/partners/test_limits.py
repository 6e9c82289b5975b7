"""A partner's limit and its places, seen from a handler."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.messages import Category
from shared.partners import Caller, Partner, PartnerThrottled, PartnerUnavailable, Surroundings, Timeouts
from shared.partners.guard import Guard
from shared.partners.sessions import Request
from shared.processing.failures import classify
from shared.resilience import Concurrency, Limit, RetryPlan
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import NOW, Label, World, world

ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)


async def get(carrier: World, seconds: float = 60, **changed: Any) -> None:
    """One call."""
    deadline = asyncio.get_running_loop().time() + seconds
    await carrier.calls(deadline=deadline, **changed).get("/labels", list[Label])


async def test_a_message_that_the_limit_has_no_time_for_is_put_off() -> None:
    """To the moment when it has, without an attempt, though another instance spent it."""
    state = MemoryState()
    options: dict[str, Any] = {"limit": Limit(calls=1, per=30), "timeouts": Timeouts(total=1)}
    async with world(state, **options) as one, world(state, **options) as other:
        await get(one)
        with pytest.raises(PartnerUnavailable, match="its limit is spent") as raised:
            await get(other, 10)
        assert 25 <= raised.value.after <= 45
        assert classify(raised.value).category is Category.THROTTLED
        assert not other.asked


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"RateLimit": '"burst";r=0;t=30'}, 200),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 200),
        ({"Retry-After": "30"}, 429),
    ],
)
async def test_the_partners_own_word_counts(headers: dict[str, str], status: int) -> None:
    """Nothing is left: all wait until there is more, whatever was agreed."""
    state = MemoryState()
    options: dict[str, Any] = {"limit": Limit(calls=1_000), "timeouts": Timeouts(total=1), "retry": ALONE}
    async with world(state, **options) as one, world(state, **options) as other:
        one.says(status=status, headers={"Content-Type": "application/json", **headers}, text="[]")
        if status == 200:
            await get(one)
        else:
            with pytest.raises(PartnerThrottled):
                await get(one)
        for each in (one, other):
            with pytest.raises(PartnerUnavailable, match="limit"):
                await get(each, 10)


async def test_no_more_calls_run_side_by_side_than_agreed() -> None:
    """Those of the low lane in half of the places; one that finds none in time is put off."""
    async with world(concurrency=Concurrency(most=4), timeouts=Timeouts(total=2)) as carrier:
        carrier.says(status=200, json=[], delay=0.4)
        calls = [asyncio.create_task(get(carrier, 2.2, batch=True)) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert len(carrier.asked) == 2
        await asyncio.gather(*(get(carrier, 30) for _ in range(8)))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in ended].count(PartnerUnavailable) == 2


class Moving:
    """A clock that sleepers move."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The time of day."""
        return NOW + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        """At once."""
        self.seconds += seconds
        await asyncio.sleep(0)

    def guard(self, limit: Limit, places: int) -> Guard:
        """One of a partner, alone with the limit."""
        around = Surroundings(clock=lambda: self.seconds, now=self.now, random=lambda: 0.5, sleep=self.sleep)
        partner = Partner("carrier", concurrency=Concurrency(most=places))
        return Guard(partner, "carrier", breaker=None, limit=limit, around=around)


REQUEST = Request(method="GET", path="/", endpoint="/", query={}, headers={}, body=None)
CALLER = Caller(message_id=UUID(int=1), correlation_id="c", bucket=0, deadline=1_000)


async def test_calls_that_waited_for_a_place_are_no_burst() -> None:
    """Each takes its moment when it has a place: one from before would let all that queued start together."""
    clock = Moving()
    guard = clock.guard(Limit(calls=10), places=1)
    began: list[float] = []

    async def call(seconds: float) -> None:
        admission = await guard.enter(REQUEST, CALLER, within=60)
        began.append(clock.seconds)
        for _ in range(20):
            await asyncio.sleep(0)
        clock.seconds += seconds
        await guard.leave(admission, took=seconds, error=None, tells=True)

    await asyncio.gather(call(5), *(call(0) for _ in range(20)))
    assert len(began) == 21
    gaps = [later - before for before, later in itertools.pairwise(began)]
    assert min(gaps) >= 0.1


async def test_a_call_without_its_moment_gives_its_place_back() -> None:
    """Whether there is none in time, or nobody waits for it any more."""
    clock = Moving()
    guard = clock.guard(Limit(calls=1, per=30), places=1)
    await guard.leave(await guard.enter(REQUEST, CALLER, within=60), took=0, error=None, tells=True)
    with pytest.raises(PartnerUnavailable, match="its limit is spent"):
        await guard.enter(REQUEST, CALLER, within=5)
    waiting = asyncio.create_task(guard.enter(REQUEST, CALLER, within=60))
    waiting.get_loop().call_soon(waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clock.seconds += 60
    await asyncio.wait_for(guard.enter(REQUEST, CALLER, within=60), 10)


async def test_a_message_that_is_put_off_never_comes_at_once() -> None:
    """However soon there may be a moment, and whatever chance says."""
    around = Surroundings(clock=lambda: 0.0, now=lambda: NOW, random=lambda: 0.0)
    guard = Guard(Partner("carrier"), "carrier", breaker=None, limit=None, around=around)
    assert guard.unavailable("labels", "why").after >= 0.25
