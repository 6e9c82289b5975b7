"""Events become deliveries, and deliveries POSTs: to whom, how often, when, and what is remembered of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from shared.subscriptions import Answer, Mode, PayloadFormat, Status, Wake
from tests.unit.shared.subscriptions.kit import NOW, Receiver, World, event, receiving, subscription


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


async def test_each_gets_exactly_what_it_asked_for(world: World, receiver: Receiver) -> None:
    asked: dict[str, dict[str, Any]] = {
        "a": {},
        "b": {"event_types": ("shop.*",)},
        "c": {"event_types": ("*@2.0",)},
        "d": {"filters": {"country": "Spain"}},
        "e": {"created_at": NOW + timedelta(seconds=1)},
        "f": {"event_types": ("shop.returned",)},
    }
    for name, more in asked.items():
        await world.store.create(subscription(name, f"{receiver.url}/{name}", **more))
    spanish = event(2, data='{"item":"2","country":"Spain"}')
    await world.publish(event(1), spanish, event(3, kind="shop.returned"), event(4, kind="shop.unheard-of"))
    await world.run(1)
    got = {name: [json.loads(one.body)["id"] for one in receiver.at(f"/{name}")] for name in asked}
    assert got == {"a": ["e-1", "e-2"], "b": ["e-1", "e-2", "e-3"], "c": [], "d": ["e-2"], "e": [], "f": ["e-3"]}
    assert await world.statuses("b") == ["delivered"] * 3


async def test_a_body_says_what_happened_and_is_signed_by_both_secrets_for_a_while(
    world: World, receiver: Receiver
) -> None:
    new = "whsec_" + "bmV3" * 8
    await world.store.create(subscription("a", receiver.url + "/a"))
    await world.changed("a", secrets=(new, subscription("x", "").secrets[0]), previous_until=NOW + timedelta(hours=1))
    await world.publish(event(7))
    await world.run()
    (one,) = receiver.at("/a")
    assert json.loads(one.body) == {
        "type": "shop.sold",
        "timestamp": "2026-11-30T12:00:00.000Z",
        "version": "1.0",
        "id": "e-7",
        "subject": "item-2",
        "sequence": 7,
        "data": {"item": "7", "country": "France"},
    }
    assert len(one.headers["webhook-signature"].split()) == 2
    assert one.headers["webhook-id"].startswith("msg_")
    assert "." not in one.headers["webhook-id"]
    world.now += timedelta(hours=2)
    await world.publish(event(8, time=world.now))
    await world.run()
    assert len(receiver.at("/a")[-1].headers["webhook-signature"].split()) == 1


async def test_cloud_events_and_links(receiver: Receiver) -> None:
    world = World(largest=100)
    for kind in PayloadFormat:
        await world.store.create(subscription(kind.value, f"{receiver.url}/{kind.value}", payload_format=kind))
    await world.publish(event(1), event(2, data=json.dumps({"item": "x" * 200})))
    await world.run()
    await world.close()
    small, large = (json.loads(one.body) for one in receiver.at("/cloudevents"))
    assert small["specversion"] == "1.0"
    assert small["data"]["item"] == "1"
    assert small["dataschema"].endswith(":1.0")
    assert "data" not in large
    assert large["dataref"].startswith("https://api.example/api/subscriptions/cloudevents/")
    link = json.loads(receiver.at("/standard")[1].body)
    assert link["data"] is None
    assert link["dataSize"] > 200
    assert link["dataUrl"].endswith("/payload")


async def test_a_failure_is_tried_again_by_the_schedule_and_given_up_after_eight(
    world: World, receiver: Receiver
) -> None:
    receiver.answers["/a"] = 500
    await world.store.create(subscription("a", receiver.url + "/a"))
    await world.publish(event(1))
    moments = []
    for _ in range(12):
        await world.run()
        moments.append((world.now - NOW).total_seconds())
        if not world.waiting:
            break
        world.now = world.waiting[0][0]
    assert moments == [0, 5, 305, 2_105, 9_305, 27_305, 63_305, 99_305]
    (found,) = await world.all("a")
    assert (found.status.value, found.attempts, len(receiver.at("/a"))) == ("failed", 8, 8)
    assert [one["status"] for one in found.tries] == [500] * 8
    assert found.tries[0]["answer"] == "noted"
    one = await world.store.get("alice", "a")
    assert one is not None
    assert one.failing_since == NOW
    assert one.status is Status.ENABLED


async def test_throttling_burns_no_attempt_and_holds_back_the_others(world: World, receiver: Receiver) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "100"})

    receiver.answers["/a"] = busy
    await world.store.create(subscription("a", receiver.url + "/a"))
    await world.publish(event(1))
    await world.run()
    await world.publish(*(event(number) for number in range(2, 8)))
    await world.run(50)
    assert len(receiver.at("/a")) == 1
    receiver.answers["/a"] = 200
    await world.run(100)
    assert len(receiver.at("/a")) == 8
    assert {one.attempts for one in await world.all("a")} == {1}
    assert set(await world.statuses("a")) == {"delivered"}


@pytest.mark.parametrize(("status", "disabled"), [(410, True), (404, False)])
async def test_who_is_gone_is_disabled_at_once(world: World, receiver: Receiver, status: int, disabled: bool) -> None:
    receiver.answers["/a"] = status
    await world.store.create(subscription("a", receiver.url + "/a"))
    await world.publish(event(1))
    await world.run()
    one = await world.store.get("alice", "a")
    assert one is not None
    assert (one.status is Status.DISABLED) is disabled
    await world.publish(event(2))
    await world.run()
    assert len(receiver.at("/a")) == (1 if disabled else 2)
    assert (await world.statuses("a"))[0] == ("missed" if disabled else "pending")


async def test_five_days_of_failures_disable_and_a_success_ends_them(world: World, receiver: Receiver) -> None:
    receiver.answers["/a"] = 500
    await world.store.create(subscription("a", receiver.url + "/a"))
    for day in range(4):
        await world.publish(event(day, time=world.now))
        await world.run(86_400)
    receiver.answers["/a"] = 200
    await world.publish(event(10, time=world.now))
    await world.run()
    one = await world.store.get("alice", "a")
    assert one is not None
    assert one.failing_since is None
    receiver.answers["/a"] = 500
    for day in range(20, 27):
        await world.publish(event(day, time=world.now))
        await world.run(86_400)
    one = await world.store.get("alice", "a")
    assert one is not None
    assert (one.status, one.reason) == (Status.DISABLED, "the receiver has failed for five days")


async def test_at_most_once_is_sent_once_whatever_comes(world: World, receiver: Receiver) -> None:
    receiver.answers["/a"] = 500
    await world.store.create(subscription("a", receiver.url + "/a", mode=Mode.AT_MOST_ONCE))
    await world.publish(event(1))
    (_, wake), *_ = world.waiting
    await world.run(10_000)
    assert len(receiver.at("/a")) == 1
    assert await world.statuses("a") == ["failed"]
    await world.deliverer.deliver(wake, again=True)
    assert len(receiver.at("/a")) == 1


class Dies(Exception):
    """The process, at a place of its choosing."""


async def test_a_process_that_dies_anywhere_loses_nothing(world: World, receiver: Receiver) -> None:
    """Every step of a try fails once; the broker brings the message back, and the receiver has it in the end."""
    await world.store.create(subscription("a", receiver.url + "/a"))
    steps = [
        (world.deliveries, "begin"),
        (world.deliveries, "put"),
        (world.sender, "post"),
        (world, "send"),
    ]
    for number, (part, name) in enumerate(steps):
        for after in (False, True):
            kept = getattr(part, name)
            died: list[bool] = []

            async def dying(
                *args: Any, _kept: Any = kept, _after: bool = after, _died: list[bool] = died, **more: Any
            ) -> Any:
                if not _died:
                    _died.append(True)
                    if _after:
                        await _kept(*args, **more)
                    raise Dies
                return await _kept(*args, **more)

            setattr(part, name, dying)
            wanted = event(2 * number + after)
            receiver.answers["/a"] = 500
            for _ in range(3):
                try:
                    await world.publish(wanted)
                    break
                except Dies:
                    continue
            receiver_is_down = True
            for _ in range(20):
                if not world.waiting:
                    break
                world.now = max(world.now, min(when for when, _ in world.waiting))
                when, wake = min(world.waiting, key=lambda one: one[0])
                world.waiting.remove((when, wake))
                for again in (False, True, True):
                    try:
                        await world.deliverer.deliver(wake, again=again)
                        break
                    except Dies:
                        world.deliverer = world.instance()
                if receiver_is_down:
                    receiver.answers["/a"], receiver_is_down = 200, False
            setattr(part, name, kept)
            assert (await world.all("a"))[0].status.value == "delivered" or set(await world.statuses("a")) == {
                "delivered"
            }, (name, after)
    assert set(await world.statuses("a")) == {"delivered"}
    assert {json.loads(one.body)["id"] for one in receiver.at("/a")} == {f"e-{number}" for number in range(8)}


async def test_a_batch_that_comes_again_sends_nothing_twice(world: World, receiver: Receiver) -> None:
    await world.store.create(subscription("a", receiver.url + "/a"))
    await world.publish(event(1), event(2))
    await world.run()
    await world.publish(event(1), event(2), event(3))
    await world.run()
    assert [json.loads(one.body)["id"] for one in receiver.at("/a")] == ["e-1", "e-2", "e-3"]


async def test_in_order_a_failure_holds_up_all_after_it(world: World, receiver: Receiver) -> None:
    await world.store.create(subscription("a", receiver.url + "/a", ordered=True))
    refusing = True

    async def answer(request: web.Request) -> web.Response:
        number = json.loads(receiver.received[-1].body)["sequence"]
        return web.Response(status=500 if refusing and number == 3 else 200)

    receiver.answers["/a"] = answer
    await world.publish(*(event(number) for number in range(1, 6)))
    await world.run()
    await world.publish(event(6))
    await world.run()
    assert [json.loads(one.body)["sequence"] for one in receiver.at("/a")] == [1, 2, 3]
    refusing = False
    await world.run(10)
    assert [json.loads(one.body)["sequence"] for one in receiver.at("/a")] == [1, 2, 3, 3, 4, 5, 6]
    assert set(await world.statuses("a")) == {"delivered"}
    assert await world.deliveries.in_order("a", most=10) == []


async def test_many_instances_keep_one_order(world: World, receiver: Receiver) -> None:
    await world.store.create(subscription("a", receiver.url + "/a", ordered=True))
    await world.publish(*(event(number) for number in range(1, 31)))
    instances = [world.instance() for _ in range(4)]
    wake = Wake(owner="alice", subscription="a")
    await asyncio.gather(*(one.deliver(wake, again=False) for one in instances))
    await world.run(10)
    assert [json.loads(one.body)["sequence"] for one in receiver.at("/a")] == list(range(1, 31))


async def test_what_hostile_receivers_do(world: World, receiver: Receiver) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(10_000):
            await answer.write(b"\x00\xff" * 8_192)
        return answer

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{receiver.url}/secret"})

    async def bomb(_: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b" + b"\x00" * 1_000, headers={"Content-Encoding": "gzip"})

    async def reset(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    receiver.answers |= {"/endless": endless, "/elsewhere": elsewhere, "/bomb": bomb, "/reset": reset}
    for name in ("endless", "elsewhere", "bomb", "reset"):
        await world.store.create(subscription(name, f"{receiver.url}/{name}"))
    await world.publish(event(1))
    await world.run()
    assert {name: (await world.statuses(name))[0] for name in ("endless", "elsewhere", "bomb", "reset")} == {
        "endless": "delivered",
        "elsewhere": "pending",
        "bomb": "delivered",
        "reset": "pending",
    }
    assert receiver.at("/secret") == []
    (found,) = await world.all("endless")
    assert len(found.tries[0]["answer"]) <= 512


async def test_a_slow_receiver_is_given_few_places_and_waits_alone() -> None:
    """POSTs that never end: a handful is under way, the others are put off, and come back one after the other."""
    under_way = 0

    class Slow:
        async def post(self, *_: Any, **__: Any) -> Answer:
            nonlocal under_way
            under_way += 1
            await asyncio.Event().wait()
            raise AssertionError

        async def close(self) -> None: ...

    world = World(sender=Slow())
    await world.store.create(subscription("slow", "http://127.0.0.1:1/", concurrency=3))
    await world.publish(*(event(number) for number in range(20)))
    wakes, world.waiting = [wake for _, wake in world.waiting], []
    tasks = [asyncio.create_task(world.deliverer.deliver(wake, again=False)) for wake in wakes]
    while len(world.waiting) + under_way < 20:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0)
    assert under_way == 2
    assert len({when for when, _ in world.waiting}) == 18
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
