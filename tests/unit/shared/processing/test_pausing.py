"""A pause: nothing runs, nothing dies, nothing is counted, and everything is done after it, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from shared.dead_letters import DeadLetterStore, GivenUp, GivenUpEarlier, InboxRecords, QueueDrain
from shared.messages import Delivery, Lane
from shared.ordered import Parking, ParkingDrain
from shared.pausing import Kind, PauseBook, PauseGate, PauseWatch, Release, SetAside, SetAsideMessage
from shared.processing import BatchFailed
from shared.sending import Lanes
from shared.state import StateStore
from shared.tables import MemoryTable
from tests.unit.memory import Instance, Surroundings

from .world import NOW, World, delivery


class PausingWorld:
    """The processor behind a gate, with an operator and a clock."""

    def __init__(self) -> None:
        self.moment = NOW
        self.table = MemoryTable("state")
        self.book = PauseBook(self.table, now=self.now)
        self.aside = SetAside(self.table, now=self.now)
        self.watch = PauseWatch(self.book, clock=lambda: (self.moment - NOW).total_seconds())
        self.world = World(pauses=self.watch, timeout=2)
        self.parking = Parking(cast(StateStore, self.world.state), now=self.now)
        gate = PauseGate(self.watch, self.aside, self.parking, integration_of=self._integration_of, now=self.now)
        self.world.processor._admission = gate
        self.back: list[Delivery] = []

    def now(self) -> datetime:
        """The moment."""
        return self.moment

    def move(self, **by: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**by)

    def _integration_of(self, event_type: str, _: str) -> str | None:
        return "stock" if event_type.startswith("stock.") else None

    async def pause(self, kind: Kind, name: str) -> None:
        """By an operator; every instance knows it four seconds later."""
        await self.book.pause(kind, name, by="ada", reason="r")
        self.move(seconds=4)

    async def resume(self, kind: Kind, name: str) -> int:
        """The same, and what was set aside goes back."""
        await self.book.resume(kind, name, by="ada")
        self.move(seconds=4)

        async def send(one: SetAsideMessage) -> None:
            self.back.append(
                Delivery(
                    body=one.body,
                    properties=dict(one.properties),
                    message_id=one.broker_id,
                    sequence_number=one.sequence_number,
                    delivery_count=1,
                )
            )

        return await Release(self.book, self.aside, send, now=self.now).run()


async def test_a_paused_lane_does_nothing_and_loses_nothing_for_days() -> None:
    """Not even what can't be read is a dead letter: a bad deployment may be why the lane is paused."""
    world = PausingWorld()
    await world.pause(Kind.LANE, "normal")
    broken = Delivery(body=b"\xff", properties={}, message_id="x", sequence_number=31, delivery_count=1)
    await world.world.process(*(delivery(number) for number in range(1, 31)), broken)
    assert (world.world.calls, world.world.lanes.sent, world.world.dead.letters) == ([], [], {})
    assert sum((await world.aside.counts()).values()) == 31
    world.move(days=9)
    assert await world.resume(Kind.LANE, "normal") == 31
    await world.world.process(*world.back)
    assert [world.world.status(number) for number in range(1, 31)] == ["done"] * 30
    assert len(world.world.dead.letters) == 1  # what can't be read, now


async def test_a_second_delivery_after_a_crash_is_done_once() -> None:
    """The instance was killed after it set the messages aside and before it completed them."""
    world = PausingWorld()
    await world.pause(Kind.LANE, "normal")
    await world.world.process(delivery(1), delivery(2))
    await world.world.process(delivery(1), delivery(2), delivery(3))
    assert await world.resume(Kind.LANE, "normal") == 3
    await world.world.process(*world.back, delivery(3))
    assert len(world.world.calls) == 3
    assert [world.world.status(number) for number in (1, 2, 3)] == ["done"] * 3


async def test_a_paused_integration_holds_only_its_own() -> None:
    world = PausingWorld()
    await world.pause(Kind.INTEGRATION, "parcels")
    await world.world.process(delivery(1))
    assert world.world.status(1) == "done"
    await world.pause(Kind.INTEGRATION, "stock")
    await world.world.process(delivery(2))
    assert world.world.status(2) is None
    assert await world.aside.counts() == {("normal", "stock"): 1}


async def test_a_pause_stops_a_batch_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers that have begun end; the others' messages come back with the attempt that they had."""
    world = PausingWorld()
    behave = world.world._behave

    async def first_then_pause(command: Any, work: Any) -> Any:
        if not (await world.book.state()).active:
            await world.pause(Kind.INTEGRATION, "stock")
        return await behave(command, work)

    monkeypatch.setattr(world.world, "_behave", first_then_pause)
    await world.world.process(*(delivery(number, "one-item") for number in range(1, 11)))
    done = [number for number in range(1, 11) if world.world.status(number) == "done"]
    assert 1 <= len(done) < 10
    assert len(world.world.lanes.sent) == 10 - len(done)
    assert {sent.headers.attempt for sent in world.world.lanes.sent} == {1}
    assert world.world.dead.letters == {}


async def test_storage_that_fails_while_messages_are_set_aside_fails_the_batch(
    monkeypatch: pytest.MonkeyPatch, no_holding_back: list[int]
) -> None:
    """They go back to their queue, after the wait that spares their deliveries."""
    world = PausingWorld()
    await world.pause(Kind.LANE, "normal")

    async def fail(_: Any) -> None:
        raise OSError

    monkeypatch.setattr(world.aside, "put", fail)
    with pytest.raises(BatchFailed):
        await world.world.process(delivery(1))
    assert no_holding_back == [1]
    assert world.world.calls == []


def ordered(number: int, key: str, **data: Any) -> Delivery:
    """A message of the ordered lane."""
    known = delivery(number, key, **data)
    return Delivery(
        body=known.body,
        properties={**known.properties, "priority": "ordered"},
        message_id=known.message_id,
        sequence_number=number,
        delivery_count=1,
    )


async def turns_of(world: PausingWorld, key: str) -> list[int]:
    """The messages of a key that wait, in the order of their turns, each released."""
    turns = []
    while found := (await world.parking.find([key])).get(key):
        turn = await world.parking.turn(found)
        assert turn is not None
        turns.append(turn.delivery.sequence_number)
        await world.parking.release(turn)
    return turns


async def test_the_ordered_lane_keeps_the_order_of_every_key() -> None:
    """What is set aside waits as the parked do, and what comes after it waits behind it."""
    world = PausingWorld()
    await world.pause(Kind.LANE, "ordered")
    gate = world.world.processor._admission
    assert gate is not None
    assert await gate.admit(Lane.ORDERED, [ordered(1, "a"), ordered(2, "b"), ordered(3, "a")]) == []
    assert await gate.admit(Lane.ORDERED, [ordered(4, "a")]) == []
    parked = await world.parking.find(["a", "b"])
    assert {key: one.after - one.first for key, one in parked.items()} == {"a": 3, "b": 1}
    assert await world.aside.counts() == {}
    assert await turns_of(world, "a") == [1, 3, 4]


async def test_the_ordered_lane_keeps_the_order_where_only_a_later_message_of_a_key_is_paused() -> None:
    """The earlier one, of another integration, may be processed; it isn't put behind the later one."""
    world = PausingWorld()
    await world.pause(Kind.INTEGRATION, "stock")
    gate = world.world.processor._admission
    assert gate is not None
    free = replace(ordered(1, "a"), properties={**ordered(1, "a").properties, "eventType": "parcel.sent"})
    other = replace(ordered(4, "b"), properties={**ordered(4, "b").properties, "eventType": "parcel.sent"})
    batch = [free, ordered(2, "a"), ordered(3, "a"), other]
    assert await gate.admit(Lane.ORDERED, batch) == [3]
    assert await turns_of(world, "a") == [1, 2, 3]
    assert await world.parking.find(["b"]) == {}


@pytest.mark.parametrize(("kind", "name"), [(Kind.LANE, "ordered"), (Kind.INTEGRATION, "stock")])
async def test_a_pause_takes_nothing_of_the_time_that_attempts_may_take(kind: Kind, name: str) -> None:
    """A message that waits for its second attempt has a day for all of them; the pause takes three."""
    world = PausingWorld()
    store = cast(StateStore, world.world.state)
    around = Surroundings(
        registry=world.world.registry,
        store=store,
        lanes=world.world.lanes,
        publisher=world.world.publisher,
        dead_letters=world.world.dead,
        pauses=world.watch,
        now=world.now,
    )
    instance = Instance(around, ordered=True)
    drain = ParkingDrain(
        instance.parking,
        instance.ordered,
        instance.processor.take_turn,
        pauses=world.watch,
        now=world.now,
    )
    await instance.processor.process(Lane.ORDERED, [ordered(1, "a", behave="has a bug")])
    await world.pause(kind, name)
    for _ in range(36):
        world.move(hours=2)
        await drain.drain()
    assert len(world.world.calls) == 1
    await world.resume(kind, name)
    world.move(seconds=30)
    await drain.drain()
    assert len(world.world.calls) == 2
    assert world.world.dead.letters == {}
    turn = await world.parking.turn((await world.parking.find(["a"]))["a"])
    assert turn is not None
    assert turn.delivery.properties["attempt"] == 3


class DeadLetterQueue:
    """The ordered lane's, with one message that the broker gave up: whoever looks drains it."""

    def __init__(self, world: PausingWorld, given_up: GivenUp) -> None:
        self.lying = [given_up]
        self._drain = QueueDrain(
            cast(DeadLetterStore, world.world.dead),
            InboxRecords(cast(StateStore, world.world.state)),
            cast(Lanes, world.world.lanes),
            world.parking,
            world.world.suspects,
            has_payload_hash=self._is_the_same,
            now=world.now,
            random=lambda: 0.5,
        )

    async def _is_the_same(self, *_: object) -> bool:
        return True

    async def _complete(self, message: GivenUp) -> None:
        self.lying.remove(message)

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """As `GivenUpEarlier` does."""
        keys = {one.properties["key"] for one in deliveries}
        lying = [one for one in self.lying if one.session_id in keys]
        assert await self._drain.drain(Lane.ORDERED, lying, self._complete) == []


@pytest.mark.parametrize(("kind", "name"), [(Kind.LANE, "ordered"), (Kind.INTEGRATION, "stock")])
@pytest.mark.parametrize("reason", ["MaxDeliveryCountExceeded", "TTLExpiredException"])
async def test_what_the_broker_gave_up_goes_before_what_comes_during_a_pause(
    kind: Kind, name: str, reason: str
) -> None:
    """It waits before the later message of its key, or holds it as a dead letter does."""
    world = PausingWorld()
    first = ordered(1, "a")
    given_up = replace(first, properties={**first.properties, "DeadLetterReason": reason})
    queue = DeadLetterQueue(world, GivenUp(delivery=given_up, session_id="a"))
    world.world.processor._earlier = cast(GivenUpEarlier, queue)
    await world.pause(kind, name)
    await world.world.processor.process(Lane.ORDERED, [ordered(2, "a")])
    assert queue.lying == []
    known = (await world.parking.find(["a"]))["a"]
    if reason == "TTLExpiredException":
        assert (known.blocked_by, world.world.status(1)) == (str(UUID(int=1)), "dead")
        turn = await world.parking.turn(known)
        assert turn is not None
        assert turn.delivery.sequence_number == 2
    else:
        assert await turns_of(world, "a") == [1, 2]
