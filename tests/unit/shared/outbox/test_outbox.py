"""The way out: in the order of each key, after a crash too, and nothing that is still under way is swept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from shared.encryption import Tampered
from shared.messages import Contract, Headers, Lane, OutgoingCommand, PayloadHash
from shared.outbox import Outbox, outbox
from shared.privacy import FieldProtection
from shared.sending import EventPublisher, Lanes
from shared.state import StateStore, bucket_of, outbox_key, pack, partition_key, unpack
from shared.tables import Create
from shared.work import Aggregate, Work
from tests.unit.memory import MemoryLanes, MemoryPublisher, MemoryState
from tests.unit.shared.encryption.vault import World as Keys

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


async def leave_letter(
    store: MemoryState, bucket: int, key: str, sequence: int, age: float, body: bytes, *, to: Headers | None = None
) -> None:
    """A command in the outbox."""
    text = OutgoingCommand(to or headers("elsewhere", lane=Lane.HIGH), body).to_json().decode()
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
    def make(
        cls,
        store: MemoryState | None = None,
        *,
        lanes: MemoryLanes | None = None,
        fields: FieldProtection | None = None,
    ) -> World:
        """Around a store, which two of them may share."""
        store, publisher, lanes = store or MemoryState(), MemoryPublisher(), lanes or MemoryLanes()
        outbox = Outbox(
            cast("StateStore", store),
            cast("EventPublisher", publisher),
            cast("Lanes", lanes),
            now=lambda: NOW,
            settle_for=timedelta(seconds=10),
            fields=fields,
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
    assert {event.bucket for event in world.publisher.facts} == {1}, "which decides their partition"
    assert world.store.rows == {}


async def test_a_key_is_left_alone_while_its_oldest_row_is_young(world: World) -> None:
    """Its own batch is about to publish it; the other keys don't wait for it."""
    await leave(world.store, 1, "A", 1, 9.9, "young")
    await leave(world.store, 1, "A:B", 1, 30, "another key")
    await leave(world.store, 2, "C", 1, 10, "old")
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


class Refusing(MemoryLanes):
    """Takes a moment for each command, and refuses the first one of a key."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[str, bytes]] = []
        self.refused = "B"

    async def send(self, headers: Headers, body: bytes) -> None:
        self.tried.append((headers.key, body))
        await asyncio.sleep(0)
        if headers.key == self.refused:
            raise ConnectionError("not that one")
        await super().send(headers, body)


async def test_commands_of_the_ordered_lane_leave_one_after_the_other() -> None:
    """A key whose first one is refused sends no later one; the other keys go on meanwhile, none before its turn."""
    lanes = Refusing()
    world = World.make(lanes=lanes)
    for number, (key, body) in enumerate([("A", b"1"), ("B", b"1"), ("A", b"2"), ("B", b"2"), ("C", b"1")], start=1):
        await leave_letter(world.store, 1, "S", number, 30, body, to=headers(key, number, Lane.ORDERED))
    with pytest.raises(ExceptionGroup):
        await world.outbox.sweep()
    assert lanes.tried[:3] == [("A", b"1"), ("B", b"1"), ("C", b"1")], "keys side by side"
    assert ("B", b"2") not in lanes.tried
    lanes.tried.clear()
    lanes.refused = ""
    assert await world.outbox.sweep() == 5
    for key in "AB":
        assert [body for tried, body in lanes.tried if tried == key] == [b"1", b"2"]
    assert {(each.headers.message_id.int, each.body) for each in world.lanes.sent} >= {(2, b"1"), (4, b"2")}


async def test_encrypted_commands_leave_in_clear() -> None:
    """The queue has an encryption of its own; what was encrypted for another row is refused, and stays."""
    keys = Keys()
    fields = FieldProtection(keys.data_keys(), keys.subject_keys(), None)
    world = World.make(fields=fields)
    text = OutgoingCommand(headers("elsewhere", lane=Lane.HIGH), b"{}").to_json().decode()
    for number, place in ((1, 1), (2, 1)):
        encrypted = await fields.encrypt_whole(text, ("outbox", outbox_key("A", place)))
        await _leave(world.store, number, "A", number, 30, kind="command", text=encrypted)
    with pytest.raises(ExceptionGroup) as refused:
        await world.outbox.sweep()
    assert [type(error) for error in refused.value.exceptions] == [Tampered]
    assert [each.body for each in world.lanes.sent] == [b"{}"]
    assert world.store.keys("outbox:") == [outbox_key("A", 2)]


async def test_a_sweep_says_how_much_was_left(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An alert counts these lines; where nothing was left there is none."""
    caplog.set_level("INFO")
    assert await world.outbox.sweep() == 0
    assert caplog.messages == []
    await leave(world.store, 1, "A", 1, 30, "one")
    await leave(world.store, 2, "B", 1, 30, "two")
    await world.outbox.sweep()
    assert [(record.getMessage(), vars(record)["fields"]) for record in caplog.records] == [
        ("outbox swept", {"rows": 2})
    ]


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


async def test_two_sweeps_at_once_repeat_events_and_keep_their_order(world: World) -> None:
    """The first copies come in order, nothing is left, and neither sweep fails."""
    for number in range(1, 4):
        await leave(world.store, 1, "A", number, 30, f"A-{number}")
    await asyncio.gather(world.outbox.sweep(), world.outbox.sweep())
    assert list(dict.fromkeys(world.told)) == [b"A-1", b"A-2", b"A-3"]
    assert world.store.rows == {}


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


async def rounds() -> None:
    """Let everything go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


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
    await asyncio.wait_for(world.outbox.rows.deleted("B"), 60)
    bucket = bucket_of("A", store.buckets)
    await leave(store, bucket, "A", 2, 1, "of another process")
    await leave(store, bucket, "B", 1, 1, "of another key")
    waiting = asyncio.create_task(world.outbox.rows.unpublished(bucket, "A"))
    await rounds()
    assert not waiting.done()
    store.go.set()
    assert [unpack(row) for row in await asyncio.wait_for(waiting, 60)] == ["of another process"]


async def test_rows_that_cannot_be_deleted_are_left_to_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for them goes on; they are published again, which is a repeat and no loss."""
    store = SlowDeletes()
    world = World.make(store)
    store.refuses = True
    store.go.set()
    await told(world, "A", 1)
    await asyncio.wait_for(world.outbox.rows.deleted("A"), 60)
    assert len(store.keys("outbox:")) == 1
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "published rows are left in the outbox")
    assert "storage is away" in caplog.text
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


async def test_a_deletion_that_hangs_is_left_to_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the key's rows waits no longer than that."""
    monkeypatch.setattr(outbox, "_DELETING_SECONDS", 0.001)
    store = SlowDeletes()
    world = World.make(store)
    await told(world, "A", 1)
    await asyncio.wait_for(world.outbox.rows.deleted("A"), 60)
    assert len(store.keys("outbox:")) == 1


async def test_deletions_do_not_pile_up() -> None:
    """With four batches' rows on their way out, the next one waits before it goes on."""
    store = SlowDeletes()
    world = World.make(store)
    for number, key in enumerate("ABCD"):
        await told(world, key, number + 1)
    fifth = asyncio.create_task(told(world, "E", 5))
    await rounds()
    assert len(world.told) == 5
    assert store.waiting == 4
    assert not fifth.done()
    store.go.set()
    await asyncio.wait_for(fifth, 60)
    await world.outbox.close()
    assert store.keys("outbox:") == []


async def test_work_that_says_nothing_publishes_nothing(world: World) -> None:
    """Not even what others left: it isn't guarded by the head."""
    await leave(world.store, 1, "A", 1, 30, "fact")
    silent = said(world.store, "A", "", 1, Aggregate(unpublished=[row async for row in world.store.outbox(1, "A")]))
    silent.emitted.clear()
    await world.outbox.publish([silent])
    assert world.told == []
