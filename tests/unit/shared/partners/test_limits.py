"""A partner's limit and its places, seen from a handler."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.messages import Category
from shared.partners import PartnerThrottled, PartnerUnavailable, Timeouts
from shared.processing.failures import classify
from shared.resilience import Concurrency, Limit, RetryPlan
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import Label, World, world

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
