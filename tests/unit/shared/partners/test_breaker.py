"""A partner that is broken isn't called: by any instance, for its endpoint alone, and nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from shared.messages import Category
from shared.partners import (
    InvalidAnswer,
    PartnerFailed,
    PartnerRefused,
    Partners,
    PartnerThrottled,
    PartnerUnavailable,
    StateRow,
    Surroundings,
)
from shared.processing.failures import classify
from shared.resilience import BreakerPolicy, RetryPlan, Snapshot
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import NOW, QUICK, Label, Parcel, World, world

PARCEL = Parcel(reference="536365")
ALONE = RetryPlan(max_attempts=1, base=0.01, cap=0.02)
BROKEN: dict[str, Any] = {"retry": ALONE, "breaker": BreakerPolicy(failures=2)}


async def broken(carrier: World) -> None:
    """Two failures in a row open the breaker of the labels."""
    carrier.says("*", "/labels", status=503, headers={"Retry-After": "90"})
    for _ in range(2):
        with pytest.raises(PartnerThrottled):
            await carrier.calls().get("/labels", list[Label])
    carrier.asked.clear()


async def test_an_open_breaker_puts_the_message_off() -> None:
    """To the moment when it may close, and a little later, without an attempt; other endpoints go on."""
    async with world(**BROKEN) as carrier:
        await broken(carrier)
        with pytest.raises(PartnerUnavailable, match="2 failures in a row") as raised:
            await carrier.calls().post("/labels", Label, PARCEL)
        assert not carrier.asked
        assert 90 <= raised.value.after <= 100
        assert classify(raised.value).category is Category.THROTTLED
        await carrier.calls().get("/parcels", list[Label])


async def test_another_instance_knows() -> None:
    """It has seen no failure, and doesn't call either."""
    state = MemoryState()
    async with world(state, **BROKEN) as one, world(state, **BROKEN) as other:
        await broken(one)
        with pytest.raises(PartnerUnavailable):
            await other.calls().post("/labels", Label, PARCEL)
        assert not other.asked
        assert state.keys("partner:") == ["partner:breaker:carrier:labels"]


async def test_a_partner_that_refuses_is_well() -> None:
    """Whatever it thinks of our requests."""
    async with world(**BROKEN) as carrier:
        carrier.says("*", "/labels", status=404)
        for number in range(20):
            with pytest.raises(PartnerRefused):
                await carrier.calls(message_id=UUID(int=number)).get("/labels", Label)
        assert len(carrier.asked) == 20
        assert carrier.store.keys("partner:") == []


async def test_without_a_breaker_it_is_called_always() -> None:
    """Where a partner's agreement wants it so."""
    async with world(retry=ALONE, breaker=None) as carrier:
        carrier.says(status=500)
        for _ in range(20):
            with pytest.raises(PartnerFailed):
                await carrier.calls().get("/labels", Label)


async def test_a_stale_answer_serves_meanwhile() -> None:
    """With its age, as long as the handler allows, and for reads alone."""
    async with world(**BROKEN) as carrier:
        calls = carrier.calls()
        await calls.post("/labels", Label, PARCEL)
        fresh = await calls.get("/labels", list[Label], stale=600)
        assert calls.age == 0
        await broken(carrier)
        assert await calls.get("/labels", list[Label], stale=600) == fresh
        assert calls.age > 0
        with pytest.raises(PartnerUnavailable):
            await calls.get("/labels", list[Label], stale=1e-9)
        with pytest.raises(PartnerUnavailable):
            await calls.get("/labels", list[Label], query={"page": 2}, stale=600)
        with pytest.raises(PartnerUnavailable):
            await calls.post("/labels", Label, PARCEL, stale=600)


async def test_a_stale_answer_is_of_the_same_question() -> None:
    """The handler's headers are part of it: a customer or a language that they name gets nobody else's answer."""
    async with world(**BROKEN) as carrier:
        calls = carrier.calls()
        await calls.post("/labels", Label, PARCEL)
        german = await calls.get("/labels", list[Label], headers={"Accept-Language": "de"}, stale=600)
        await broken(carrier)
        for headers in ({"Accept-Language": "fr"}, {"X-Customer": "de"}, None):
            with pytest.raises(PartnerUnavailable):
                await calls.get("/labels", list[Label], headers=headers, stale=600)
        assert await calls.get("/labels", list[Label], headers={"accept-language": "de"}, stale=600) == german


async def test_an_answer_that_broke_the_contract_is_not_kept() -> None:
    """The last good one serves, however the partner answered before its breaker opened."""
    async with world(**BROKEN) as carrier:
        calls = carrier.calls()
        await calls.post("/labels", Label, PARCEL)
        fresh = await calls.get("/labels", list[Label], stale=600)
        carrier.says("GET", status=200, json={"no": "list"}, times=1)
        with pytest.raises(InvalidAnswer):
            await calls.get("/labels", list[Label], stale=600)
        await broken(carrier)
        assert await calls.get("/labels", list[Label], stale=600) == fresh


async def test_a_fallback_serves_meanwhile() -> None:
    """A value of the handler's own; what it raises is raised."""

    def none(error: PartnerUnavailable) -> Label:
        if error.endpoint == "labels":
            return Label(id="later")
        raise error

    async with world(**BROKEN) as carrier:
        await broken(carrier)
        assert await carrier.calls().post("/labels", Label, PARCEL, fallback=none) == Label(id="later")
        carrier.says("*", "/labels", status=500)
        with pytest.raises(PartnerFailed):
            await carrier.calls().get("/labels", Label, endpoint="others", fallback=none)


async def test_ids_in_paths_make_no_breakers_without_end() -> None:
    """Beyond 64 classes of endpoints the others share one."""
    async with world() as carrier:
        for number in range(80):
            await carrier.calls().get(f"/{number}", list[Label])
        assert len(carrier.partners._clients[carrier.partner, None]._guard._breakers) <= 65


async def test_a_row_is_changed_by_compare_and_set() -> None:
    """Of two that write on what they read only the first succeeds."""
    state = MemoryState()
    row = StateRow(state, "breaker:carrier:a/b")
    nothing = await row.read()
    assert nothing.version is None
    first = await row.write({"times": 1, "endsAt": None}, nothing)
    assert first is not None
    assert await row.write({"times": 2}, nothing) is None
    assert (await row.write({"times": 3}, first)) is not None
    assert (await row.read()).values["times"] == 3


async def test_a_store_that_hangs_holds_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment it counts as away, and the instance decides by what it has seen."""
    state = MemoryState()

    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(state, "find", hang)
    monkeypatch.setattr(state, "commit", hang)
    row = StateRow(state, "breaker:carrier:labels", seconds=0.01)
    with pytest.raises(TimeoutError):
        await row.read()
    with pytest.raises(TimeoutError):
        await row.write({"times": 1}, Snapshot())


async def test_an_outage_costs_a_hundredth_of_the_calls() -> None:
    """Four instances and 1,000 messages while the partner is away: hardly one of them calls, and they are put off."""
    state = MemoryState()
    async with world(state, retry=QUICK) as carrier:
        instances = [
            Partners(
                [carrier.partner],
                urls={"carrier": carrier.carrier.url},
                around=Surroundings(
                    clock=time.monotonic, now=lambda: NOW, random=lambda: 0.5, row=lambda name: StateRow(state, name)
                ),
            )
            for _ in range(4)
        ]
        carrier.says(reset="before")
        put_off = 0
        for number in range(1_000):
            caller = replace(carrier.caller, message_id=UUID(int=number))
            try:
                await instances[number % 4].calls(carrier.partner, caller, Counter()).post("/labels", Label, PARCEL)
            except PartnerUnavailable:
                put_off += 1
            except PartnerFailed:
                pass
        for each in instances:
            await each.close()
        assert put_off >= 990
        assert len(carrier.asked) <= 0.01 * 1_000 * QUICK.max_attempts
        assert len(state.transactions) == 1  # one opened it, and the others saw that
