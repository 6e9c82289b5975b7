"""The way out: in the order of each key, after a crash too, and nothing that is still under way is swept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from shared.messages import Contract, Headers, Lane, OutgoingCommand, PayloadHash
from shared.outbox import Outbox
from shared.sending import EventPublisher, Lanes
from shared.state import Lease, StateStore, outbox_key, pack, partition_key
from shared.tables import Create
from shared.work import Aggregate, Work
from tests.unit.memory import MemoryLanes, MemoryPublisher, MemoryState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Word(Contract):
    """A fact."""

    text: str


def headers(key: str, number: int = 1, lane: Lane = Lane.NORMAL) -> Headers:
    """Headers of a message."""
    return Headers(
        message_id=UUID(int=number),
        event_type="said",
        version="1.0",
        source="/shop",
        key=key,
        lane=lane,
        correlation_id="c",
        first_attempt_at=NOW,
    )


async def leave(store: MemoryState, bucket: int, key: str, sequence: int, age: float, text: str) -> None:
    """A fact in the outbox, so many seconds old."""
    await _leave(store, bucket, key, sequence, age, kind="event", text=text)


async def leave_letter(store: MemoryState, bucket: int, key: str, sequence: int, age: float, body: bytes) -> None:
    """A command in the outbox."""
    text = OutgoingCommand(headers("elsewhere", lane=Lane.HIGH), body).to_json().decode()
    await _leave(store, bucket, key, sequence, age, kind="command", text=text)


async def _leave(store: MemoryState, bucket: int, key: str, sequence: int, age: float, *, kind: str, text: str) -> None:
    row = {
        "PartitionKey": partition_key(bucket),
        "RowKey": outbox_key(key, sequence),
        "kind": kind,
        "subject": key,
        "createdAt": NOW - timedelta(seconds=age),
        **pack(text),
    }
    await store.commit(bucket, [Create(row)])


@dataclass
class World:
    """An outbox at a fixed time."""

    store: MemoryState
    publisher: MemoryPublisher
    lanes: MemoryLanes
    outbox: Outbox

    @classmethod
    def make(cls, store: MemoryState | None = None) -> World:
        """Around a store, which two of them may share."""
        store, publisher, lanes = store or MemoryState(), MemoryPublisher(), MemoryLanes()
        outbox = Outbox(
            cast("StateStore", store),
            cast("EventPublisher", publisher),
            cast("Lanes", lanes),
            now=lambda: NOW,
            settle_for=timedelta(seconds=10),
        )
        return cls(store, publisher, lanes, outbox)

    @property
    def told(self) -> list[bytes]:
        """The facts in the order in which they were published."""
        return [fact.body for fact in self.publisher.facts]


@pytest.fixture
def world() -> World:
    """With nothing in it."""
    return World.make()


async def test_leftovers_are_published_in_the_order_of_each_key(world: World) -> None:
    """By their sequence, whatever their age says."""
    await leave(world.store, 1, "A", 10, 20, "A-10")
    await leave(world.store, 1, "A", 9, 20, "A-9")
    await leave(world.store, 1, "B", 1, 40, "B-1")
    await leave(world.store, 1, "A", 11, 30, "A-11")
    assert await world.outbox.sweep() == 4
    assert world.told == [b"A-9", b"A-10", b"A-11", b"B-1"]
    assert world.store.rows == {}


async def test_a_key_is_left_alone_while_its_oldest_row_is_young(world: World) -> None:
    """Its own batch is about to publish it; the other keys don't wait for it."""
    await leave(world.store, 1, "A", 1, 9.9, "young")
    await leave(world.store, 1, "A:B", 1, 30, "another key")
    await leave(world.store, 2, "C", 1, 30, "old")
    await leave(world.store, 2, "C", 2, 1, "young, after an old one")
    assert await world.outbox.sweep() == 3
    assert world.told == [b"another key", b"old", b"young, after an old one"]
    assert world.store.keys("outbox:") == ["outbox:A:000000000001"]


async def test_letters_go_to_their_lanes(world: World) -> None:
    """As they were written."""
    await leave_letter(world.store, 1, "A", 1, 30, b'{"ok":"\xc3\xa9"}')
    assert await world.outbox.sweep() == 1
    (sent,) = world.lanes.sent
    assert (sent.headers, sent.body) == (headers("elsewhere", lane=Lane.HIGH), b'{"ok":"\xc3\xa9"}')
    assert world.told == []


@pytest.mark.parametrize("edge", ["publisher", "lanes"])
async def test_rows_stay_when_they_could_not_be_published(world: World, edge: str) -> None:
    """The next sweep tries again."""
    await leave(world.store, 1, "A", 1, 30, "fact")
    await leave_letter(world.store, 1, "A", 2, 30, b"{}")
    getattr(world, edge).broken = ConnectionError("nobody there")
    with pytest.raises(ExceptionGroup):
        await world.outbox.sweep()
    assert len(world.store.keys("outbox:")) == 2
    getattr(world, edge).broken = None
    assert await world.outbox.sweep() == 2
    assert world.store.rows == {}


async def test_one_buckets_failure_does_not_hold_up_the_others(world: World) -> None:
    """A fact that no hub takes would otherwise starve every bucket behind it."""
    await leave(world.store, 0, "A", 1, 30, "stuck")
    await leave(world.store, 3, "B", 1, 30, "free")
    world.publisher.failures = [ValueError("too large")]
    with pytest.raises(ExceptionGroup, match="1 buckets"):
        await world.outbox.sweep()
    assert world.told == [b"free"]
    assert world.store.keys("outbox:") == ["outbox:A:000000000001"]


async def test_one_instance_sweeps_at_a_time_and_the_next_one_after_it(world: World) -> None:
    """The other one does nothing meanwhile."""
    other = Lease(cast("StateStore", world.store), "outbox", seconds=60, now=lambda: NOW)
    await leave(world.store, 1, "A", 1, 30, "fact")
    assert await other.acquire()
    assert await world.outbox.sweep() == 0
    await other.release()
    assert await world.outbox.sweep() == 1


def said(store: MemoryState, key: str, text: str, number: int, aggregate: Aggregate) -> Work:
    """Work that says one thing."""
    work = Work(
        headers=headers(key, number),
        buckets=store.buckets,
        source="/sluice",
        load=store.find,
        now=lambda: NOW,
        payload_hash=PayloadHash("f", "f"),
        aggregate=aggregate,
    )
    work.publish("said", Word(text=text))
    return work


async def test_what_was_left_goes_before_what_is_said_now(world: World) -> None:
    """And only once, though two works know of it."""
    first = said(world.store, "A", "one", 1, Aggregate())
    await world.store.commit(first.bucket, first.operations())
    left = [row async for row in world.store.outbox(first.bucket, "A")]
    second = said(world.store, "A", "two", 2, Aggregate(sequence=1, events=1, etag="etag-2", unpublished=left))
    await world.store.commit(second.bucket, second.operations())
    await world.outbox.publish([first, second])
    await world.outbox.close()
    assert [body.count(b'"one"') for body in world.told] == [1, 0]
    assert world.store.keys("outbox:") == []


class SlowDeletes(MemoryState):
    """Deletes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.refuses, self.waiting = asyncio.Event(), False, 0

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        self.waiting += 1
        await self.go.wait()
        self.waiting -= 1
        if self.refuses:
            raise ConnectionError("storage is away")
        await super().delete(bucket, row_keys)


async def told(world: World, key: str, number: int) -> None:
    """Commit and publish the first fact of a key."""
    work = said(world.store, key, f"{key}-{number}", number, Aggregate())
    await world.store.commit(work.bucket, work.operations())
    await world.outbox.publish([work])


async def test_published_rows_are_deleted_behind_the_back() -> None:
    """Who is about to read a key's rows waits until they are gone; other keys don't wait."""
    store = SlowDeletes()
    world = World.make(store)
    await told(world, "A", 1)
    assert len(world.told) == 1
    assert len(store.keys("outbox:")) == 1
    await asyncio.wait_for(world.outbox.rows.deleted("B"), 1)
    waiting = asyncio.create_task(world.outbox.rows.deleted("A"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    store.go.set()
    await asyncio.wait_for(waiting, 1)
    assert store.keys("outbox:") == []


async def test_rows_that_cannot_be_deleted_are_left_to_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for them goes on; they are published again, which is a repeat and no loss."""
    store = SlowDeletes()
    world = World.make(store)
    store.refuses = True
    store.go.set()
    await told(world, "A", 1)
    await asyncio.wait_for(world.outbox.rows.deleted("A"), 1)
    assert len(store.keys("outbox:")) == 1
    assert "left in the outbox" in caplog.text
    store.refuses = False
    later = Outbox(
        cast("StateStore", store),
        cast("EventPublisher", world.publisher),
        cast("Lanes", world.lanes),
        now=lambda: NOW + timedelta(minutes=1),
        settle_for=timedelta(seconds=10),
    )
    assert await later.sweep() == 1
    assert store.keys("outbox:") == []


async def test_deletions_do_not_pile_up() -> None:
    """With four batches' rows on their way out, the next one waits before it goes on."""
    store = SlowDeletes()
    world = World.make(store)
    for number, key in enumerate("ABCD"):
        await told(world, key, number + 1)
    fifth = asyncio.create_task(told(world, "E", 5))
    await asyncio.sleep(0.01)
    assert store.waiting == 4
    assert not fifth.done()
    store.go.set()
    await asyncio.wait_for(fifth, 1)
    await world.outbox.close()
    assert store.keys("outbox:") == []


async def test_work_that_says_nothing_publishes_nothing(world: World) -> None:
    """Not even what others left: it isn't guarded by the head."""
    await leave(world.store, 1, "A", 1, 30, "fact")
    silent = said(world.store, "A", "", 1, Aggregate(unpublished=[row async for row in world.store.outbox(1, "A")]))
    silent.emitted.clear()
    await world.outbox.publish([silent])
    assert world.told == []
