"""What instances share of partners, on a real Table service: breakers, limits, and answers that are kept."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from local.azurite import AzuriteEndpoints
from shared.partners import KeptAnswers, StateRow
from shared.resilience import BreakerOpen, BreakerPolicy, Limit, LimitSpent, Result, SharedBreaker, SharedPace
from shared.state import StateStore
from shared.tables.azure import AzureTable
from tests.unit.resilience.test_shared_pace import most_within
from tests.unit.shared.partners.world import Label

INSTANCES = 4


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


@pytest.fixture
async def stores(azurite: AzuriteEndpoints) -> AsyncIterator[list[StateStore]]:
    """One table, with the client of each instance."""
    name = f"t{uuid4().hex}"
    made = [
        StateStore([AzureTable.from_connection_string(azurite.connection_string, name)], buckets=4)
        for _ in range(INSTANCES)
    ]
    yield made
    for each in made:
        await each.close()


async def test_one_instance_opens_one_probes_and_all_know(stores: list[StateStore]) -> None:
    """Transitions are three writes, whoever makes them."""
    passed = 0.0
    policy = BreakerPolicy(failures=1, open_for=0.2, open_most=0.2)
    breakers = [
        SharedBreaker(
            policy,
            StateRow(store, "breaker:carrier:labels"),
            longest=1,
            clock=lambda: time.monotonic() + passed,
            now=now,
            random=lambda: 0.0,
        )
        for store in stores
    ]
    permits = [await one.admit() for one in breakers]
    await breakers[0].record(permits[0], Result.FAILED, took=0)
    passed += 2.0
    for one in breakers[1:]:
        with pytest.raises(BreakerOpen):
            await one.admit()
    await asyncio.sleep(0.25)
    admitted = await asyncio.gather(*(one.admit() for one in breakers), return_exceptions=True)
    probes = [number for number, one in enumerate(admitted) if not isinstance(one, BaseException)]
    assert len(probes) == 1
    assert sum(isinstance(one, BreakerOpen) for one in admitted) == INSTANCES - 1
    probe = admitted[probes[0]]
    assert not isinstance(probe, BaseException)
    await breakers[probes[0]].record(probe, Result.GOOD, took=0)
    passed += 2.0
    for one in breakers:
        await one.admit()
        assert not one.is_open


async def test_a_limit_is_kept_by_all(stores: list[StateStore]) -> None:
    """Never more than agreed in any second; on a quiet machine more than nine tenths of it are used."""
    made: list[float] = []
    ends = time.monotonic() + 3.0

    async def use(pace: SharedPace) -> None:
        while (left := ends - time.monotonic()) > 0:
            try:
                await pace.take(within=left)
            except LimitSpent:
                return
            made.append(time.monotonic())
            await asyncio.sleep(0.02)

    paces = [
        SharedPace(Limit(calls=50), StateRow(store, "limit:carrier"), now=now, random=random.Random(number).random)
        for number, store in enumerate(stores)
    ]
    await asyncio.gather(*(use(one) for one in paces for _ in range(8)))
    assert most_within(made, 1.0) <= 50
    assert len(made) >= 40


async def test_an_answer_is_kept_once(stores: list[StateStore]) -> None:
    """Of two runs of a message the first one's counts, for both and for those after them."""
    answers = [KeptAnswers(store, None, now=now) for store in stores]
    message = UUID(int=1)
    kept = await asyncio.gather(
        *(each.keep(0, message, "key", Label(id=str(number))) for number, each in enumerate(answers))
    )
    assert len({one.id for one in kept}) == 1
    assert await answers[0].find(0, message, "key", Label) == kept[0]
    assert await answers[0].find(0, message, "another", Label) is None
    later = datetime(2100, 1, 1, tzinfo=UTC)
    assert [key async for key in stores[0].settled(0, before=later)] == [f"call:{message}:key"]
