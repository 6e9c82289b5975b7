"""The ordered lane's turns: who passes, who waits, what an outcome does to the key, and when the drain goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.messages import Delivery, Headers, Lane
from shared.ordered import ParkingDrain
from shared.ordered.rows import ParkedKey
from shared.pausing import Kind, PauseBook, PauseWatch
from shared.processing import BatchFailed
from shared.resilience import RetryPlan
from shared.state import Inbox, bucket_of, inbox_key
from shared.tables import MemoryTable
from shared.telemetry import Metrics
from shared.telemetry.metrics import enable
from shared.work import Done, Ended, Parked
from tests.unit.memory import Instance, Surroundings
from tests.unit.shared.processing.world import NOW, World, delivery, headers

Settle = Callable[[Ended], Awaitable[None]]


def ordered(number: int, key: str = "a", behave: str = "well", **changed: Any) -> Delivery:
    """A message of the ordered lane."""
    return delivery(number, key, behave=behave, amount=number, with_headers={"lane": Lane.ORDERED, **changed})


def name_of(number: int) -> str:
    return str(UUID(int=number))


class LaneWorld:
    """One instance with a clock to move."""

    def __init__(self, **changed: Any) -> None:
        self.world = World()
        self.time = NOW
        around = Surroundings(
            registry=self.world.registry,
            store=self.world.state,
            lanes=self.world.lanes,
            publisher=self.world.publisher,
            dead_letters=self.world.dead,
            now=self.now,
            plan=RetryPlan(max_attempts=3, base=2.0, cap=10.0),
            jitter=1.0,
            concurrency=100,
        )
        self.instance = Instance(replace(around, **changed), ordered=True)
        self.parking = self.instance.parking
        self.drain = self.drain_with()

    def now(self) -> datetime:
        return self.time

    def drain_with(self, **changed: Any) -> ParkingDrain:
        """A drain of the instance's parking lot."""
        parts: dict[str, Any] = {"now": self.now, "take_turn": self.instance.processor.take_turn, **changed}
        return ParkingDrain(self.parking, self.instance.ordered, **parts)

    async def process(self, *deliveries: Delivery) -> None:
        await self.instance.processor.process(Lane.ORDERED, deliveries)

    async def parked(self, key: str = "a") -> ParkedKey | None:
        return (await self.parking.find([key])).get(key)

    async def waits(self, key: str = "a") -> int:
        known = await self.parked(key)
        return 0 if known is None else known.after - known.first

    async def first(self, key: str = "a") -> Delivery:
        """The message whose turn it is."""
        known = await self.parked(key)
        assert known is not None
        turn = await self.parking.turn(known)
        assert turn is not None
        return turn.delivery

    def moves(self, key: str = "a") -> list[int]:
        """What took effect, in order."""
        return [int(each) for each in (self.world.stock(key) or {"moves": []})["moves"]]

    async def replay(self, number: int, key: str = "a") -> Delivery:
        """An operator replays a dead message, whose cause is mended; its delivery."""
        await Inbox(self.world.state).reopen(name_of(number), key, replay=1)
        return ordered(number, key, replay=1)


@pytest.fixture
def lane() -> LaneWorld:
    return LaneWorld()


async def test_what_must_be_tried_again_holds_its_key_and_no_other(lane: LaneWorld) -> None:
    """The later ones of its key wait, those that come after it too."""
    await lane.process(ordered(1, behave="retry"), ordered(2), ordered(3, "b"))
    await lane.process(ordered(4), ordered(5, "b"))
    assert lane.world.calls == [("a", 1), ("b", 3), ("b", 5)]
    parked = await lane.parked()
    assert parked is not None
    assert (parked.until, parked.reason, parked.blocked_by) == (NOW + timedelta(seconds=7), "not yet", None)
    assert await lane.waits() == 3
    assert lane.world.lanes.sent == [], "no copy goes through the lane, where others would overtake it"
    copy = await lane.first()
    assert copy.body == ordered(1, behave="retry").body
    assert copy.message_id == f"{name_of(1)}#2"
    known = Headers.from_properties(copy.properties)
    assert (known.attempt, known.lane, known.message_id) == (2, Lane.ORDERED, UUID(int=1))


async def test_a_batch_says_what_waits(lane: LaneWorld) -> None:
    """Each delivery has an outcome, so that all of them may be completed."""
    await lane.process(ordered(1, behave="retry"))
    turns = await lane.instance.ordered.whose_turn(
        [Ended(one, Done(), Headers.from_properties(one.properties)) for one in (ordered(2), ordered(3, "b"))]
    )
    assert [one.delivery.message_id for one in turns.now] == [name_of(3)]
    assert [(one.delivery.message_id, one.outcome, one.headers) for one in turns.parked] == [
        (name_of(2), Parked(), headers(2, "a", lane=Lane.ORDERED))
    ]
    assert turns.holding == frozenset()


async def test_a_key_is_tried_when_its_time_has_come(lane: LaneWorld, caplog: pytest.LogCaptureFixture) -> None:
    """And not a moment before."""
    caplog.set_level("INFO")
    await lane.process(ordered(1, behave="half"))
    lane.time += timedelta(seconds=2.9)
    caplog.clear()
    assert await lane.drain.drain() == 0
    assert caplog.messages == [], "nothing was due"
    lane.time += timedelta(seconds=0.1)
    assert await lane.drain.drain() == 1
    assert lane.world.calls == [("a", 1)] * 2


async def test_a_drain_tells_what_became_of_the_messages(lane: LaneWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Operators read it, and alerts count it."""
    caplog.set_level("INFO")
    await park(lane, ordered(1), ordered(2), ordered(1), ordered(3, behave="reject"), ordered(4))
    await park(lane, ordered(5, "b"), ordered(6, "b", behave="retry"), ordered(7, "b"))
    caplog.clear()
    assert await lane.drain.drain() == 6
    (line,) = [record for record in caplog.records if record.getMessage() == "parking drained"]
    assert vars(line)["fields"] == {"keys": 2, "done": 3, "duplicates": 1, "retried": 1, "dead": 1}
    assert lane.moves() == [1, 2]
    assert lane.moves("b") == [5]
    assert (await lane.waits(), await lane.waits("b")) == (1, 2)


async def park(lane: LaneWorld, *deliveries: Delivery) -> None:
    """Messages of a key that wait, the first of them for its time, which has come."""
    first, *others = deliveries
    key = str(first.properties["key"])
    name = str(first.properties["messageId"])
    assert await lane.parking.park(key, first, message_id=name, until=lane.time, reason="")
    for one in others:
        assert await lane.parking.add(key, one)


async def test_a_message_that_waited_and_must_wait_longer_stays_the_first(lane: LaneWorld) -> None:
    """With its next attempt, and the reason of this one."""
    await park(lane, ordered(1, behave="retry"), ordered(2))
    assert await lane.drain.drain() == 1
    parked = await lane.parked()
    assert parked is not None
    assert (parked.until, parked.reason) == (NOW + timedelta(seconds=7), "not yet")
    assert Headers.from_properties((await lane.first()).properties).attempt == 2
    assert await lane.waits() == 2
    lane.time += timedelta(seconds=6.9)
    assert await lane.drain.drain() == 0


async def test_a_dead_message_blocks_its_key_until_it_was_replayed(lane: LaneWorld) -> None:
    """Only it may pass meanwhile, and only its success lets the others go on."""
    await lane.process(ordered(1, behave="reject"), ordered(2))
    parked = await lane.parked()
    assert parked is not None
    assert (parked.blocked_by, parked.until) == (name_of(1), None)
    lane.time += timedelta(days=1)
    assert await lane.drain.drain() == 0, "an operator must decide"
    await lane.process(ordered(1, behave="reject"))
    assert await lane.waits() == 1, "a second delivery of it changes nothing"

    again = await lane.replay(1)
    await lane.process(again, ordered(3))
    assert lane.moves() == [1]
    assert await lane.waits() == 2
    assert await lane.drain.drain() == 2
    assert lane.moves() == [1, 2, 3]
    assert await lane.parked() is None
    await lane.process(ordered(4))
    assert lane.moves() == [1, 2, 3, 4]


async def test_a_replay_that_was_done_without_letting_its_key_go_lets_it_go_when_it_comes_again(
    lane: LaneWorld,
) -> None:
    """The instance died between the two; the second delivery finds the message done."""
    await lane.process(ordered(1, behave="reject"), ordered(2))
    again = await lane.replay(1)
    row = lane.world.state.inbox(UUID(int=1))
    assert row is not None
    lane.world.state.put(bucket_of("a", lane.world.state.buckets), inbox_key(name_of(1)), {**row, "status": "done"})
    await lane.process(replace(again, body=ordered(1, behave="reject").body))
    assert await lane.drain.drain() == 1
    assert lane.moves() == [2]


async def test_a_message_whose_key_was_freed_meanwhile_does_not_wait(lane: LaneWorld) -> None:
    """Nobody would ever come for it."""
    await park(lane, ordered(1))
    find = lane.parking.find

    async def find_then_drain(keys: Any) -> dict[str, ParkedKey]:
        found = await find(keys)
        if not lane.moves():
            lane.parking.find = find  # type: ignore[method-assign]
            await lane.drain.drain()
        return found

    lane.parking.find = find_then_drain  # type: ignore[method-assign]
    await lane.process(ordered(2))
    assert lane.moves() == [1, 2]


async def test_a_message_without_a_key_cannot_have_a_turn(lane: LaneWorld) -> None:
    """What can't be read is a dead letter of no key, and blocks none."""
    broken = Delivery(body=b"\xff", properties={}, message_id="x", sequence_number=1, delivery_count=1)
    await lane.process(broken, ordered(1))
    assert lane.moves() == [1]
    assert len(lane.world.dead.letters) == 1
    with pytest.raises(LookupError, match=r"^the message doesn't say which key it belongs to$"):
        await lane.instance.ordered.whose_turn([Ended(broken, Done())])


async def test_two_drains_at_once_do_each_message_once_and_in_order(lane: LaneWorld) -> None:
    """The lease of the job that drains may have run out on one of them."""
    await park(lane, *(ordered(number) for number in range(1, 6)))
    await asyncio.gather(lane.drain.drain(), lane.drain_with().drain())
    assert lane.moves() == [1, 2, 3, 4, 5]
    assert await lane.parked() is None


@pytest.mark.parametrize(("held", "drained"), [("ordered", 0), ("normal", 1)])
async def test_a_pause_of_the_lane_stops_the_drain(lane: LaneWorld, held: str, drained: int) -> None:
    """A pause of another lane doesn't."""
    book = PauseBook(MemoryTable("state"), now=lane.now)
    await book.pause(Kind.LANE, held, by="ada", reason="r")
    await park(lane, ordered(1))
    assert await lane.drain_with(pauses=PauseWatch(book, clock=lambda: 0.0)).drain() == drained


async def test_a_drain_begins_no_message_once_its_time_is_over(lane: LaneWorld) -> None:
    """The next one goes on with what is left."""
    await park(lane, *(ordered(number) for number in range(1, 6)))
    ticks = iter(range(100, 200, 10))
    drain = lane.drain_with(budget=30.0, clock=lambda: float(next(ticks)))
    assert await drain.drain() == 2, "begun after 10 and 20 s, not after 30"
    assert await lane.waits() == 3
    assert await lane.drain.drain() == 3
    assert lane.moves() == [1, 2, 3, 4, 5]


async def test_sixteen_keys_are_drained_side_by_side(lane: LaneWorld) -> None:
    """Each in its own order; more of them wait for a place."""
    for number in range(1, 21):
        await park(lane, ordered(number, f"key-{number}"))
    running = most = 0

    async def turn(one: Delivery, settle: Settle) -> Ended:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        ended = await lane.instance.processor.take_turn(one, settle)
        running -= 1
        return ended

    assert await lane.drain_with(take_turn=turn).drain() == 20
    assert most == 16


async def test_a_key_that_cannot_be_drained_waits_and_the_others_go_on(
    lane: LaneWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Storage failed in the middle of it; the message is tried again by the next drain."""
    await park(lane, ordered(1))
    await park(lane, ordered(2, "b"))
    with pytest.raises(ExceptionGroup, match=r"^1 parked keys couldn't be drained") as failed:
        await lane.drain_with(take_turn=failing(lane, ConnectionError("storage is away"))).drain()
    assert [str(error) for error in failed.value.exceptions] == ["storage is away"]
    (line,) = [record for record in caplog.records if record.getMessage() == "parking not drained"]
    assert (line.levelname, vars(line)["fields"]) == ("ERROR", {"keys": 1})
    assert "storage is away" in caplog.text
    assert (lane.moves(), lane.moves("b")) == ([], [2])
    assert await lane.drain.drain() == 1
    assert lane.moves() == [1]


class Halt(BaseException):
    """No failure that anybody handles."""


async def test_what_ends_the_process_ends_the_drain(lane: LaneWorld) -> None:
    """It is no failure of a key."""
    await park(lane, ordered(1))
    with pytest.raises(Halt, match="the host goes"):
        await lane.drain_with(take_turn=failing(lane, Halt("the host goes"))).drain()


def failing(lane: LaneWorld, error: BaseException) -> Callable[[Delivery, Settle], Awaitable[Ended]]:
    """Where every turn of key `a` fails."""

    async def turn(one: Delivery, settle: Settle) -> Ended:
        if one.properties["key"] == "a":
            raise error
        return await lane.instance.processor.take_turn(one, settle)

    return turn


async def test_a_turn_counts_once_it_is_settled(lane: LaneWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that fails, the same message has its turn again, and only then an outcome."""
    enable()
    try:
        await park(lane, ordered(1, behave="reject"))
        with monkeypatch.context() as failing_store:
            failing_store.setattr(lane.world.dead, "put", away)
            with pytest.raises(ExceptionGroup):
                await lane.drain.drain()
        assert list(Metrics.messages_processed.points()) == []
        assert await lane.drain.drain() == 1
        assert [point.value for point in Metrics.messages_processed.points()] == [1]
    finally:
        enable(False)


async def away(*_: object) -> None:
    raise ConnectionError("storage is away")


@pytest.mark.parametrize(
    ("attempt", "began", "counted"),
    [
        (1, timedelta(days=-3), timedelta(0)),  # its first attempt begins now
        (2, timedelta(days=-3), timedelta(days=-1)),  # the two days for which it was due don't count
        (2, timedelta(days=-1), timedelta(0)),  # it can't begin in the future
    ],
)
async def test_the_time_for_attempts_runs_while_it_is_a_messages_turn(
    lane: LaneWorld, attempt: int, began: timedelta, counted: timedelta
) -> None:
    """Not while it waits for others, for a pause to end or for a drain that comes late."""
    now = NOW + timedelta(days=2)
    await park(lane, ordered(1, attempt=attempt, first_attempt_at=now + began))
    lane.time = now
    seen: list[Headers] = []

    async def turn(one: Delivery, settle: Settle) -> Ended:
        seen.append(Headers.from_properties(one.properties))
        return await lane.instance.processor.take_turn(one, settle)

    await lane.drain_with(take_turn=turn).drain()
    assert [(one.first_attempt_at, one.attempt) for one in seen] == [(now + counted, attempt)]


async def test_a_waiting_message_that_cannot_be_read_ends_as_a_dead_letter(lane: LaneWorld) -> None:
    """It was written by another release, or by nobody that we know."""
    one = ordered(1)
    await park(lane, replace(one, properties={**one.properties, "attempt": "two"}))
    assert await lane.drain.drain() == 1
    assert len(lane.world.dead.letters) == 1


async def test_a_message_that_names_its_key_and_cannot_be_read_blocks_it(lane: LaneWorld) -> None:
    """What comes after it may need what it would have said."""
    await lane.process(replace(ordered(1), body=b"\xff"), ordered(2), ordered(3, "b"))
    assert (lane.moves(), lane.moves("b")) == ([], [3])
    parked = await lane.parked()
    assert parked is not None
    assert parked.blocked_by == name_of(1)
    assert {(letter.key, letter.lane_name) for letter in lane.world.dead.letters.values()} == {("a", "ordered")}


async def test_a_batch_counts_every_message_of_every_key(lane: LaneWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Though each wave of it is settled by itself."""
    caplog.set_level("INFO")
    await lane.process(
        *(ordered(number) for number in (1, 2, 3)), ordered(1), ordered(4, behave="reject"), ordered(5), ordered(6, "b")
    )
    (line,) = [record for record in caplog.records if record.getMessage() == "batch"]
    counts = {name: count for name, count in vars(line)["fields"].items() if isinstance(count, int)}
    assert counts.pop("milliseconds") >= 0
    wanted = {"received": 7, "paused": 0, "done": 4, "duplicates": 1, "retried": 0, "dead": 1, "parked": 1}
    assert counts == wanted


async def test_a_batch_that_cannot_be_parked_goes_back(lane: LaneWorld) -> None:
    """Whoever completed it would lose the message that must be tried again."""
    lane.world.state.failures = [None] * 3 + [ConnectionError("storage is away")] * 50
    with pytest.raises(BatchFailed):
        await lane.process(ordered(1, behave="retry"))
    lane.world.state.failures = []
    await lane.process(ordered(1, behave="retry"))
    assert await lane.waits() == 1
