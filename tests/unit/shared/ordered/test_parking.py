"""Parked keys: nothing is lost, nothing goes first that isn't first, and a stale view changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from shared.messages import Delivery
from shared.ordered import Parking
from shared.state import StateStore, bucket_of, inbox_key, parked_key, partition_key
from shared.testing.recording import MemoryStore

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = "press/7"


def waiting(name: str, body: bytes = b"{}", **properties: Any) -> Delivery:
    return Delivery(
        body=body,
        properties={"messageId": name, **properties},
        message_id=name,
        sequence_number=2**62,
        delivery_count=1,
    )


def death(name: str) -> dict[str, Any]:
    place = {"PartitionKey": partition_key(bucket_of(KEY, 2)), "RowKey": inbox_key(name)}
    return {**place, "status": "dead", "reason": "jammed"}


class Lot:
    """A parking lot in memory, with a clock to move."""

    def __init__(self) -> None:
        self.store = MemoryStore(buckets=2)
        self.time = NOW
        self.parking = Parking(cast(StateStore, self.store), now=lambda: self.time)

    async def park(self, name: str, seconds: float = 0) -> bool:
        until = self.time + timedelta(seconds=seconds)
        return await self.parking.park(KEY, waiting(name), message_id=name, until=until, reason="busy")

    async def turns(self) -> list[str]:
        """Who comes when everything is released, one after the other."""
        names = []
        while parked := (await self.parking.find([KEY])).get(KEY):
            turn = await self.parking.turn(parked)
            if turn is None:
                break
            names.append(turn.delivery.message_id)
            assert await self.parking.release(turn)
        return names

    def rows(self) -> Mapping[Any, Any]:
        return {place: row for place, row in self.store.rows.items() if place[1].startswith(("parked:", "waiting:"))}


@pytest.fixture
def lot() -> Lot:
    return Lot()


async def test_messages_wait_in_order_and_leave_nothing_behind(lot: Lot) -> None:
    assert not await lot.parking.add(KEY, waiting("early")), "a key that isn't parked keeps nobody waiting"
    assert await lot.park("one")
    for name in ("two", "three"):
        assert await lot.parking.add(KEY, waiting(name))
    assert await lot.turns() == ["one", "two", "three"]
    assert not lot.rows()


async def test_a_replay_that_must_wait_comes_before_those_that_wait_behind_it(lot: Lot) -> None:
    await lot.parking.block(KEY, death("one"))
    await lot.parking.add(KEY, waiting("two"))
    lot.store.put(bucket_of(KEY, 2), inbox_key("one"), {"status": "replaying"})
    assert await lot.park("one")
    assert (await lot.parking.find([KEY]))[KEY].blocked_by is None
    assert await lot.turns() == ["one", "two"]


@pytest.mark.parametrize("size", [0, 1, 65_536, 300_001])
async def test_any_body_and_its_properties_come_back_as_they_were(lot: Lot, size: int) -> None:
    body = bytes(number % 256 for number in range(size))
    sent = waiting("one", body, attempt=3, flag=True, share=0.5, claim="claims/one")
    await lot.parking.park(KEY, sent, message_id="one", until=NOW, reason="")
    turn = await lot.parking.turn((await lot.parking.find([KEY]))[KEY])
    assert turn is not None
    assert turn.delivery == sent
    assert [name async for name in lot.parking.claims()] == ["claims/one"]


async def test_a_stale_head_removes_nobody_else(lot: Lot) -> None:
    """Its number was given again, to another message, after the key had been free."""
    await lot.park("one")
    stale = await lot.parking.turn((await lot.parking.find([KEY]))[KEY])
    assert stale is not None
    assert await lot.turns() == ["one"]
    await lot.park("two")
    assert not await lot.parking.release(stale)
    assert not await lot.parking.postpone(stale, waiting("one"), until=NOW, reason="late")
    assert await lot.turns() == ["two"]


async def test_what_was_dealt_with_neither_parks_nor_blocks(lot: Lot) -> None:
    lot.store.put(bucket_of(KEY, 2), inbox_key("one"), {"status": "done"})
    assert not await lot.park("one")
    assert await lot.parking.block(KEY, death("one")) == "done"
    assert not lot.rows()


async def test_a_key_is_due_when_its_time_has_come_and_nobody_must_decide(lot: Lot) -> None:
    await lot.park("one", seconds=10)
    assert [parked.key async for parked in lot.parking.due()] == []
    lot.time += timedelta(seconds=10)
    assert [parked.key async for parked in lot.parking.due()] == [KEY]
    await lot.parking.block(KEY, death("one"))
    assert [parked.key async for parked in lot.parking.due()] == []


async def test_only_the_blocking_message_unblocks_and_a_replay_only_when_it_is_done(lot: Lot) -> None:
    await lot.parking.block(KEY, death("one"))
    assert not await lot.parking.unblock(KEY, "two", done_only=False)
    assert not await lot.parking.unblock(KEY, "one", done_only=True)
    assert await lot.parking.unblock(KEY, "one", done_only=False)
    assert not lot.rows()


async def test_a_death_out_of_turn_leaves_a_held_key_as_it_is(lot: Lot) -> None:
    """The broker gave up a later message while an earlier one blocks the key."""
    await lot.parking.block(KEY, death("one"))
    assert await lot.parking.block(KEY, death("two"), its_turn=False) == "dead"
    assert (await lot.parking.find([KEY]))[KEY].blocked_by == "one"
    assert await lot.parking.block("free", death("three") | _place("free", "three"), its_turn=False) == "dead"
    assert (await lot.parking.find(["free"]))["free"].blocked_by == "three"


async def test_a_replay_that_dies_again_blocks_its_key_again(lot: Lot) -> None:
    """With the reason and the time of this death, in the place of the inbox row that was opened for it."""
    await lot.parking.block(KEY, death("a:b"))
    lot.store.put(bucket_of(KEY, 2), inbox_key("a:b"), {"status": "replaying"})
    lot.time += timedelta(hours=1)
    again = {name: value for name, value in death("a:b").items() if name != "reason"}
    assert await lot.parking.block(KEY, again) == "dead"
    parked = (await lot.parking.find([KEY]))[KEY]
    assert (parked.blocked_by, parked.reason, parked.since, parked.until) == ("a:b", "", lot.time, None)
    assert lot.store.rows[(partition_key(bucket_of(KEY, 2)), inbox_key("a:b"))]["status"] == "dead"


async def test_a_death_in_turn_does_not_take_the_key_from_the_message_that_blocks_it(lot: Lot) -> None:
    """Nor does one out of turn block a key that waits for its time."""
    await lot.parking.block(KEY, death("one"))
    assert await lot.parking.block(KEY, death("two")) == "dead"
    parked = (await lot.parking.find([KEY]))[KEY]
    assert (parked.blocked_by, parked.reason, parked.since) == ("one", "jammed", NOW)
    await lot.parking.unblock(KEY, "one", done_only=False)
    await lot.park("three", seconds=5)
    assert await lot.parking.block(KEY, death("four"), its_turn=False) == "dead"
    assert (await lot.parking.find([KEY]))[KEY].blocked_by is None


async def test_a_key_that_may_go_on_has_no_reason_to_wait(lot: Lot) -> None:
    """It is due at once, and parked since then: nothing of the death is left."""
    await lot.parking.block(KEY, death("one"))
    await lot.parking.add(KEY, waiting("two"))
    lot.time += timedelta(hours=1)
    assert await lot.parking.unblock(KEY, "one", done_only=False)
    parked = (await lot.parking.find([KEY]))[KEY]
    assert (parked.blocked_by, parked.reason, parked.since, parked.until) == (None, "", lot.time, lot.time)


async def test_rows_have_the_columns_that_others_read(lot: Lot) -> None:
    """Operators, the sweep of claims and an earlier release find keys and messages by them."""
    until = NOW + timedelta(seconds=9)
    sent = waiting("one", claim="claims/one")
    await lot.parking.park(KEY, sent, message_id="one", until=until, reason="x" * 5_000)
    parked, message = lot.rows().values()
    place = ("PartitionKey", "RowKey")
    assert {name: value for name, value in parked.items() if name not in place} == {
        "key": KEY,
        "first": "1000000000",
        "next": "1000000001",
        "blockedBy": "",
        "reason": "x" * 4_000,
        "since": NOW,
        "until": until,
    }
    columns = {name: message[name] for name in ("claim", "brokerId", "sequenceNumber", "deliveryCount")}
    assert columns == {"claim": "claims/one", "brokerId": "one", "sequenceNumber": str(2**62), "deliveryCount": 1}
    await lot.parking.block("free", death("two") | _place("free", "two"))
    (blocked,) = [row for (_, name), row in lot.store.rows.items() if name == parked_key("free")]
    assert blocked["blockedBy"] == "two"
    assert "until" not in blocked


async def test_a_key_goes_on_when_nobody_can_decide_any_more(lot: Lot) -> None:
    await lot.parking.block(KEY, death("one"))
    assert await lot.parking.give_up(timedelta(days=31)) == []
    lot.time += timedelta(days=31)
    assert [parked.key for parked in await lot.parking.give_up(timedelta(days=31))] == [KEY]
    assert (partition_key(bucket_of(KEY, 2)), parked_key(KEY)) not in lot.store.rows


def _place(key: str, name: str) -> dict[str, str]:
    return {"PartitionKey": partition_key(bucket_of(key, 2)), "RowKey": inbox_key(name)}


@pytest.mark.parametrize("note", ["", "x" * 32_700, "x" * 65_000, "\u00fc" * 32_000])
async def test_properties_as_large_as_the_broker_takes_wait_whole(note: str) -> None:
    """A row that the store refuses would fail the batch, over and over, until all its messages are dead letters."""
    lot = Lot()
    await lot.parking.park(KEY, waiting("a", note=note), message_id="a", until=NOW, reason="later")
    turn = await lot.parking.turn((await lot.parking.find([KEY]))[KEY])
    assert turn is not None
    assert turn.delivery == waiting("a", note=note)
