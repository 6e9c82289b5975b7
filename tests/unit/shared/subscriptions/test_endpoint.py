"""Places and pace of receivers: nobody waits in vain, and nobody takes the places of others."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from functions.composition.subscriptions import limit_of
from shared.resilience import SharedPace
from shared.subscriptions import Answer, Endpoints
from shared.subscriptions.endpoint import PutOff
from tests.unit.resilience.test_shared_breaker import MemoryRow
from tests.unit.shared.subscriptions.kit import World, event, subscription
from tests.unit.virtual_time import VirtualTime

GOOD = Answer(status=200, seconds=0.01, headers={})


@pytest.fixture
def moved() -> Iterator[VirtualTime]:
    """Time that passes while everybody waits."""
    made = VirtualTime()
    yield made
    made.close()


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 999.5, 1_000.0])
def test_a_rate_is_what_was_asked_for(rate: float) -> None:
    limit = limit_of(rate)
    assert limit.calls / limit.per == pytest.approx(rate)
    assert limit.per >= 0.5 or rate < 1  # a moment that is used late is missed: 4 % of the span


@pytest.mark.parametrize("rate", [0.5, 1.5, 20.0])
def test_a_receiver_that_nobody_knows_gets_its_first_posts_at_its_pace(moved: VirtualTime, rate: float) -> None:
    """With the shared row, whose reads and writes take their time; what is put off comes when it was told."""
    row = MemoryRow(delay=lambda: 0.004)
    endpoints = Endpoints(
        lambda *_: SharedPace(limit_of(rate), row, now=moved.now, random=random.Random(1).random), clock=moved.clock
    )
    sent: list[float] = []

    async def deliver() -> None:
        endpoint = endpoints.of("alice", "a", 8, rate)
        while True:
            try:
                unproven = await endpoint.enter()
                break
            except PutOff as later:
                await asyncio.sleep(later.after)
        sent.append(moved.clock())
        await asyncio.sleep(0.01)
        endpoint.exit(GOOD, unproven=unproven)

    async def all_of_them() -> None:
        async with asyncio.timeout(60 / rate), asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(deliver())

    moved.run(all_of_them())
    assert len(sent) == 10
    assert sent[0] < 0.3
    assert sent[-1] - sent[0] >= 9 / rate * 0.9


async def test_receivers_that_hang_leave_places_to_others_and_one_owner_leaves_some_to_another() -> None:
    """Two owners with 40 receivers each that never answer: 8 POSTs of each are under way, and a quick one waits not."""
    under_way: Counter[str] = Counter()
    quick: list[str] = []

    class Hanging:
        async def post(self, url: str, *_: Any, **__: Any) -> Answer:
            if "quick" in url:
                quick.append(url)
                return GOOD
            under_way[url.split("/")[3]] += 1
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None: ...

    world = World(sender=Hanging())
    await world.store.create(subscription("quick", "http://127.0.0.1:1/quick", owner="carol"))
    await world.publish(event(1))
    await world.run()
    assert len(quick) == 1
    tasks: list[asyncio.Task[None]] = []
    for number, owner in enumerate(("alice", "bob")):
        for each in range(40):
            name = f"{owner}-{each}"
            await world.store.create(subscription(name, f"http://127.0.0.1:1/{owner}/{each}", owner=owner))
        await world.publish(event(10 + number))
        wakes = [wake for _, wake in world.waiting if wake.owner == owner and wake.event]
        world.waiting = []
        tasks += [asyncio.create_task(world.deliverer.deliver(wake, again=False)) for wake in wakes]
        while len(world.waiting) + under_way[owner] < 40:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
    assert under_way == {"alice": 8, "bob": 8}
    await world.publish(event(20))
    wakes = [wake for _, wake in world.waiting if wake.owner == "carol"]
    for wake in wakes:
        await world.deliverer.deliver(wake, again=False)
    assert len(quick) == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert world.deliverer._endpoints._unproven._taken.total() == 0
