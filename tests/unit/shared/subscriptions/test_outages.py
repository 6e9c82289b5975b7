"""Storage or broker are away for a moment, before or after any write of a try: nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.dead_letters import GivenUp
from shared.messages import Delivery as Message
from shared.sending import NotSent
from shared.subscriptions import DeliveryReceiver, Wake, wake_overdue
from tests.unit.memory import MemoryDeadLetters
from tests.unit.shared.subscriptions.kit import Receiver, World, event, receiving, subscription


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with receiving() as found:
        yield found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """The way of webhooks, with nothing in it."""
    found = World()
    yield found
    await found.close()


def message(wake: Wake, count: int = 1) -> Message:
    """As the broker brings it."""
    return Message(
        body=wake.event, properties=wake.properties(), message_id="m", sequence_number=1, delivery_count=count
    )


def taking(world: World) -> DeliveryReceiver:
    """What takes the queue's messages."""
    return DeliveryReceiver(
        lambda: world.deliverer,
        lambda: world,
        MemoryDeadLetters,  # type: ignore[arg-type]
        now=lambda: world.now,
        sleep=lambda _: asyncio.sleep(0),
    )


async def take_one(world: World) -> None:
    """Deal with what is due first; what is refused the broker brings again, and gives up after the third time."""
    taker = taking(world)
    when, wake = min(world.waiting, key=lambda one: one[0])
    world.waiting.remove((when, wake))
    world.now = max(world.now, when)
    for count in (1, 2, 3):
        try:
            await taker.take(message(wake, count))
            return
        except NotSent:
            continue
    while await taker.drain([GivenUp(delivery=message(wake, 3))], lambda _: asyncio.sleep(0)):
        pass


def failing(part: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, after: bool, turn: int, times: int) -> None:
    """Have calls of a part fail: `times` of them from number `turn` on, before or after what they do."""
    kept, calls = getattr(part, name), 0

    async def away(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        fails = turn < calls <= turn + times
        result = await kept(*args, **more) if after or not fails else None
        if fails:
            raise NotSent("the broker is away") if name == "send" else ServiceRequestError("storage is away")
        return result

    monkeypatch.setattr(part, name, away)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["put", "get", "change", "send", "take_turn"])
async def test_an_outage_at_any_write_loses_nothing(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, name: str, after: bool, ordered: bool
) -> None:
    """Of each of the first calls, and of so many of them that the broker gives the message up."""
    part: Any = {"send": world, "change": world.store}.get(name, world.deliveries)
    number = 0
    for turn in range(3):
        for times in (1, 5):
            number += 1
            identity = f"a-{number}"
            path = f"/{identity}"
            receiver.answers[path] = 500
            await world.store.create(subscription(identity, receiver.url + path, ordered=ordered))
            await world.publish(event(number, time=world.now))
            with monkeypatch.context() as patch:
                failing(part, name, patch, after=after, turn=turn, times=times)
                for _ in range(400):
                    if not world.waiting:
                        break
                    await take_one(world)
                    if receiver.at(path):
                        receiver.answers[path] = 200
            assert await world.statuses(identity) == ["delivered"], (turn, times)
            await world.store.delete("alice", identity)


async def test_whose_message_is_lost_is_found_by_the_sweep_and_nobody_is_sent_twice(
    world: World, receiver: Receiver
) -> None:
    """Lost messages of a first try, of a later one and in order; what still waits, or belongs to nobody, is left."""
    for name in ("a", "b", "gone"):
        await world.store.create(subscription(name, f"{receiver.url}/{name}", ordered=name == "b"))
    receiver.answers["/a"] = 500
    await world.publish(event(1))
    await world.run()
    world.waiting = []  # of the second try of a, and of gone
    await world.publish(event(2), event(3))
    world.waiting = []
    await world.store.delete("alice", "gone")
    receiver.answers["/a"] = 200

    async def sweep() -> int:
        return await wake_overdue(world.store, world.deliveries, world, now=world.now)

    assert await sweep() == 0
    world.now += timedelta(hours=2)
    await world.publish(event(4, time=world.now))
    assert (await sweep(), await sweep()) == (4, 4)
    while world.waiting:
        await take_one(world)
    assert await sweep() == 0
    for name, wanted in (("a", 5), ("b", 4)):
        assert set(await world.statuses(name)) == {"delivered"}
        assert len(receiver.at(f"/{name}")) == wanted
