"""Partners in a handler's hands: calls, many of them side by side, and the boundary that their models don't cross."""

from __future__ import annotations

import asyncio

import pytest

from shared.partners import Partner, PartnerModel
from tests.unit.memory import MemoryState
from tests.unit.shared.partners.world import Label, Parcel, world
from tests.unit.shared.work.world import work


async def test_a_handler_calls_a_partner() -> None:
    """With the message's own id: a second run of the handler makes no second label."""
    async with world() as carrier:
        for _ in range(2):
            unit = work(carrier.store, partners=carrier.partners, deadline=carrier.caller.deadline)
            await unit.call(carrier.partner).post("/labels", Label, Parcel(reference="A"))
        assert [one["reference"] for one in carrier.labels] == ["A"]


async def test_without_partners_nobody_is_called() -> None:
    """A unit of work of a test may have none."""
    with pytest.raises(LookupError):
        work(MemoryState()).call(Partner("carrier", base_url="https://carrier.example"))


class Theirs(PartnerModel):
    """What a partner answers."""

    count: int = 1


async def test_a_partners_model_ends_at_the_boundary() -> None:
    """It is neither saved nor published nor sent."""
    unit = work(MemoryState())
    with pytest.raises(TypeError, match="Theirs is a partner's model"):
        await unit.save("stock", "A", Theirs())
    with pytest.raises(TypeError, match="Theirs"):
        unit.publish("stock.moved", Theirs())


async def test_many_calls_run_a_few_at_a_time() -> None:
    """In the order in which they were given, never more than the limit."""
    running, most = 0, 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    assert await work(MemoryState()).gather(*map(call, range(50)), limit=4) == list(range(50))
    assert most == 4


async def test_the_first_error_ends_the_others() -> None:
    """Nothing keeps running behind a handler that failed."""
    ended: list[int] = []

    async def call(number: int) -> None:
        if number == 1:
            raise ConnectionError
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    with pytest.raises(ConnectionError):
        await work(MemoryState()).gather(*map(call, range(5)), limit=3)
    assert {0, 2} <= set(ended) <= {0, 2, 3}
    with pytest.raises(ValueError, match="limit"):
        await work(MemoryState()).gather(limit=0)
