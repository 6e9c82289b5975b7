"""A batch: an outcome for every message, effects once, and failure only where the infrastructure fails."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from shared.processing import BatchFailed
from tests.unit.memory import MemoryState, claim_of

from .world import MISBEHAVIOUR, NOW, READERS, World, body, delivery, headers, redelivered


async def test_every_message_is_done_once_and_its_fact_published() -> None:
    """Inbox record and state stay, the outbox is empty again."""
    world = World()
    await world.process(*(delivery(number) for number in range(1, 30)))
    assert [world.status(number) for number in range(1, 30)] == ["done"] * 29
    assert len(world.publisher.facts) == 29
    assert world.state.keys("outbox:") == []
    assert len(world.state.transactions) <= world.state.buckets
    assert world.lanes.sent == []


async def test_an_empty_batch_is_fine() -> None:
    """Some triggers deliver one."""
    await World().process()


@pytest.mark.parametrize(
    "behave", [*MISBEHAVIOUR, "publishes too much", "saves too much", "half of too much", "another aggregate"]
)
async def test_one_bad_message_never_hurts_its_batch(behave: str) -> None:
    """Whatever a handler does, the others are done, and it is retried or buried."""
    world = World(timeout=1.0 if behave == "hangs" else 5.0)
    await world.process(delivery(1), delivery(2, behave=behave), delivery(3), delivery(4, "item-1"))
    assert [world.status(number) for number in (1, 3, 4)] == ["done"] * 3
    assert world.status(2) in (None, "dead")
    assert len(world.lanes.sent) + len(world.dead.letters) == 1
    assert world.stock("item-2") is None
    assert len(world.publisher.facts) == 3


async def test_what_a_handler_returns_is_ignored() -> None:
    """Garbage isn't an error."""
    world = World()
    await world.process(delivery(1, behave="return garbage"))
    assert world.status(1) == "done"


@pytest.mark.parametrize(
    ("behave", "seconds"),
    [
        ("hangs", 2.0),
        ("has a bug", 2.0),
        ("retry", 7.0),
        ("throttled", 11.0),
        ("throttled oddly", 2.0),
        ("throttled until a date", 2.0),
        ("throttled below zero", 2.0),
    ],
)
async def test_a_failure_that_may_pass_is_tried_again_later(behave: str, seconds: float) -> None:
    """By a delayed copy with the next attempt; what the other side asks for wins over the plan."""
    world = World(timeout=1.0 if behave == "hangs" else 5.0)
    await world.process(delivery(1, behave=behave))
    (copy,) = world.lanes.sent
    assert copy.headers == headers(1, "item-1", attempt=2)
    assert copy.body == body(1, "item-1", behave=behave)
    assert copy.when == NOW + timedelta(seconds=seconds)
    assert world.status(1) is None


async def test_the_last_attempt_ends_among_the_dead() -> None:
    """With the reason of the failure and the number of attempts."""
    world = World(attempts=3)
    await world.process(delivery(1, behave="has a bug", with_headers={"attempt": 3}))
    (letter,) = world.dead.letters.values()
    assert (letter.code, letter.category, letter.attempts) == ("ATTEMPTS_EXHAUSTED", "transient", 3)
    assert "KeyError" in letter.reason
    assert letter.body == body(1, "item-1", behave="has a bug")
    assert world.status(1) == "dead"
    assert world.lanes.sent == []


async def test_a_business_refusal_is_final_and_keeps_its_code() -> None:
    """The operation can tell why."""
    world = World()
    await world.process(delivery(1, behave="reject"))
    row = world.state.inbox(UUID(int=1))
    assert row is not None
    assert (row["status"], row["code"], row["reason"]) == ("dead", "CUSTOMER_BLOCKED", "not with us")


@pytest.mark.parametrize("behave", ["publishes too much", "saves too much", "half of too much"])
async def test_work_that_no_transaction_holds_is_dead_with_its_reason(behave: str) -> None:
    """It would fail the whole batch at every delivery."""
    world = World()
    await world.process(delivery(1, behave=behave))
    assert world.reasons() == {str(UUID(int=1)): "STATE_TOO_LARGE"}


async def test_messages_of_one_key_are_handled_in_order_and_see_each_other() -> None:
    """Each commits before the next one loads."""
    world = World()
    await world.process(*(delivery(number, "A", amount=number) for number in range(1, 8)), delivery(8, "B"))
    assert world.stock("A") == {"total": 28, "moves": [1, 2, 3, 4, 5, 6, 7]}
    assert [event.sequence for event in world.told() if event.subject == "A"] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_key_s_next_batch_does_not_publish_again_what_is_being_deleted() -> None:
    """The rows of the batch before may still lie in the outbox when the next message of the key is looked up."""

    class LateDeletes(MemoryState):
        async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
            await asyncio.sleep(0.05)
            await super().delete(bucket, row_keys)

    world = World(state=LateDeletes())
    for number in (1, 2, 3):
        await world.process(delivery(number, "A", amount=number))
        assert world.state.keys("outbox:")
    assert [event.sequence for event in world.told()] == [1, 2, 3]


async def test_rows_on_their_way_out_are_waited_for_where_another_instance_spoke_last() -> None:
    """Only then the outbox is asked: without the wait, what this instance has published would be found in it."""
    waiting = 0

    class LateDeletes(MemoryState):
        async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
            nonlocal waiting
            waiting += 1
            await asyncio.sleep(0.3)  # longer than the other instance takes, whatever else the machine does
            await super().delete(bucket, row_keys)
            waiting -= 1

    state = LateDeletes()
    one, other = World(state=state), World(state=state)
    await one.process(delivery(1, "A"))
    await other.process(delivery(2, "A"))
    assert waiting == 2
    await one.process(delivery(3, "A"))
    assert [event.sequence for event in one.told()].count(1) == 1


async def test_a_delivery_of_what_was_done_changes_nothing() -> None:
    """In another batch and in the same one."""
    world = World()
    await world.process(delivery(1, amount=5), delivery(1, amount=5))
    await world.process(delivery(1, amount=5))
    assert world.stock("item-1") == {"total": 5, "moves": [5]}
    assert len(world.publisher.facts) == 1
    assert len(world.calls) == 1
    assert world.dead.letters == {}


async def test_the_same_payload_in_other_words_is_the_same_message() -> None:
    """White space, name order and time stamp don't make a message another one."""
    world = World()
    first = delivery(1, amount=5, behave="well")
    fields = json.loads(first.body)
    fields["timestamp"] = "2026-02-02T00:00:00Z"
    fields["data"] = dict(reversed(fields["data"].items()))
    await world.process(first)
    await world.process(replace(first, body=json.dumps(fields, indent=2).encode()))
    assert world.stock("item-1") == {"total": 5, "moves": [5]}
    assert world.dead.letters == {}


async def test_the_same_id_with_another_payload_is_refused_and_reported() -> None:
    """The first one's record stays; each other payload is one dead letter, however often it comes."""
    world = World()
    await world.process(delivery(1, amount=5))
    for _ in range(2):
        await world.process(delivery(1, amount=6), delivery(2))
    assert world.stock("item-1") == {"total": 5, "moves": [5]}
    assert world.status(1) == "done"
    assert [letter.code for letter in world.dead.letters.values()] == ["MESSAGE_ID_CONFLICT"]
    assert world.status(2) == "done"


@pytest.mark.parametrize("buckets", [1, 4])
async def test_one_id_for_two_aggregates_in_one_batch_fails_nobody(buckets: int) -> None:
    """A transaction that created one inbox record twice would be refused whole, at every delivery."""
    world = World(buckets=buckets)
    await world.process(delivery(1, "A"), delivery(1, "B"), delivery(2))
    assert world.status(2) == "done"
    if buckets == 1:
        assert [letter.code for letter in world.dead.letters.values()] == ["MESSAGE_ID_CONFLICT"]


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"messageId": "x"},
        {"traceparent": 5},
        {"traceparent": b"\x00", "attempt": float("inf")},
        {"key": "\ud800"},
        {"eventType": "e" * 100_000},
        {"firstAttemptAt": "0001-01-01T00:00:00+14:00"},
        {"claim": "c" * 100_000},
        {"claim": "somebody/else"},
        {"claim": "x", "claimSha256": "y", "claimSize": 3},
        {"eventType": "nobody.knows"},
        {"version": "9"},
        {"key": "other"},
        {"messageId": str(UUID(int=99))},
    ],
)
async def test_hostile_properties_are_one_messages_own_trouble(properties: dict[str, Any]) -> None:
    """It becomes a dead letter whose columns fit; the rest of the batch is done."""
    world = World()
    good = delivery(1)
    wrong = delivery(2)
    mixed = {**wrong.properties, **properties} if properties else {}
    await world.process(good, replace(wrong, properties=mixed), delivery(3))
    assert (world.status(1), world.status(3)) == ("done", "done")
    if set(properties) != {"traceparent"}:
        (row,) = world.dead.rows.values()
        assert all(len(value.encode("utf-16-le")) <= 65_536 for value in row.values() if isinstance(value, str))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\x00",
        b"null",
        b"[" * 100_000,
        b'{"a":NaN}',
        body(2, "item-2")[:-1],
        body(2, "item-2", amount="1"),
        body(2, "item-2", amount=True),
        body(2, "item-3"),
        body(2, "item-2").replace(b'"data": {', b'"data": {"x": 1, "x": 2, '),
    ],
)
async def test_a_body_that_can_not_be_read_is_a_dead_letter(payload: bytes) -> None:
    """Kept byte for byte."""
    world = World()
    await world.process(delivery(1), replace(delivery(2), body=payload), delivery(3))
    assert (world.status(1), world.status(3)) == ("done", "done")
    (letter,) = world.dead.letters.values()
    assert letter.body == payload
    assert world.calls.count(("item-2", 1)) == 0


async def test_a_payload_behind_a_claim_is_read_and_a_missing_one_is_dead() -> None:
    """Never an empty payload."""
    world = World()
    payload = body(1, "item-1", amount=3)
    claim = await world.claims.put(UUID(int=1), payload)
    there = {"claim": claim.name, "claim_sha256": claim.sha256, "claim_size": claim.size}
    gone = claim_of(UUID(int=2), b"gone")
    missing = {"claim": gone.name, "claim_sha256": gone.sha256, "claim_size": gone.size}
    await world.process(
        replace(delivery(1, with_headers=there), body=b""), replace(delivery(2, with_headers=missing), body=b"")
    )
    assert world.stock("item-1") == {"total": 3, "moves": [3]}
    assert world.reasons() == {str(UUID(int=2)): "CLAIM_MISSING"}


async def test_a_large_payload_is_parsed_without_holding_up_the_loop() -> None:
    """Two megabytes through a claim."""
    world = World()
    payload = body(1, "item-1", padding=["x" * 100] * 20_000)
    claim = await world.claims.put(UUID(int=1), payload)
    there = {"claim": claim.name, "claim_sha256": claim.sha256, "claim_size": claim.size}
    await world.process(replace(delivery(1, with_headers=there), body=b""))
    assert world.status(1) == "done"
    assert READERS[-1] is not threading.main_thread()
    await world.process(delivery(2))
    assert READERS[-1] is threading.main_thread()


async def test_handlers_run_side_by_side_up_to_the_limit() -> None:
    """A bulkhead, not a queue of one."""
    world = World(concurrency=3)
    await world.process(*(delivery(number) for number in range(1, 21)))
    assert world.most_running == 3


async def test_messages_that_found_no_time_are_given_back_uncounted() -> None:
    """They were never tried."""
    world = World(concurrency=1, timeout=0.05)
    await world.process(*(delivery(number, behave="hangs") for number in range(1, 7)), delivery(7))
    attempts = {copy.headers.attempt for copy in world.lanes.sent}
    assert attempts == {1, 2}
    assert len(world.lanes.sent) == 7


@pytest.mark.parametrize("failing_call", range(1, 12))
async def test_when_storage_fails_the_batch_goes_back_and_ends_right(
    failing_call: int, no_holding_back: list[int]
) -> None:
    """Wherever it failed: after the next delivery every effect is there once."""
    world = World()
    batch = [delivery(1, "A", amount=1), delivery(2, "A", amount=2), delivery(3, "B", amount=3)]
    world.state.failures = [None] * failing_call + [ConnectionError("storage is down")]
    try:
        await world.process(*batch)
    except BatchFailed:
        await world.process(*batch)
        assert no_holding_back == [3]
    for copy in world.lanes.sent:  # loading failed inside a handler: that message is tried again
        await world.process(redelivered(copy))
    assert world.stock("B") == {"total": 3, "moves": [3]}
    stock = world.stock("A")
    assert stock is not None
    assert sorted(stock["moves"]) == [1, 2]


async def test_when_nothing_publishes_the_facts_wait_in_the_outbox() -> None:
    """The messages are done; the sweeper finds the rows."""
    world = World()
    world.publisher.broken = ConnectionError("no hub")
    await world.process(delivery(1), delivery(2))
    assert (world.status(1), world.status(2)) == ("done", "done")
    assert len(world.state.keys("outbox:")) == 2


async def test_when_a_delayed_copy_can_not_be_scheduled_the_batch_goes_back() -> None:
    """What was done stays done, and the message isn't lost."""
    world = World()
    world.lanes.broken = ConnectionError("no broker")
    with pytest.raises(BatchFailed):
        await world.process(delivery(1), delivery(2, behave="retry"))
    assert world.status(1) == "done"
    world.lanes.broken = None
    await world.process(delivery(1), delivery(2, behave="retry"))
    assert [copy.headers.attempt for copy in world.lanes.sent] == [2]
    assert world.stock("item-1") == {"total": 1, "moves": [1]}


async def test_when_a_dead_letter_can_not_be_stored_the_batch_goes_back() -> None:
    """A message is completed only after it is kept somewhere."""
    world = World()
    world.dead.broken = ConnectionError("no storage")
    with pytest.raises(BatchFailed):
        await world.process(delivery(1, behave="reject"))
    world.dead.broken = None
    await world.process(delivery(1, behave="reject"))
    await world.process(delivery(1, behave="reject"))
    assert len(world.dead.letters) == 1
    assert world.status(1) == "dead"


async def test_a_rival_instance_changing_the_state_makes_the_handler_run_again() -> None:
    """Nothing is overwritten, nothing counted twice."""
    world = World()
    other = World(state=world.state)
    await asyncio.gather(
        *(
            side.process(*(delivery(number, "A", amount=1) for number in numbers))
            for side, numbers in ((world, range(1, 6)), (other, range(6, 11)))
        )
    )
    stock = world.stock("A")
    assert stock is not None
    assert stock["total"] == 10


async def test_two_instances_with_the_same_delivery_do_it_once() -> None:
    """The second meets the first one's inbox record when it commits."""
    world = World()
    other = World(state=world.state)
    await asyncio.gather(world.process(delivery(1)), other.process(delivery(1)))
    assert world.stock("item-1") == {"total": 1, "moves": [1]}
    assert len(world.publisher.facts) + len(other.publisher.facts) == 1


async def test_stopping_the_app_stops_the_batch_without_an_outcome() -> None:
    """The host delivers it again; a cancellation from outside is not the handler's failure."""
    world = World(timeout=30)
    running = asyncio.create_task(world.process(delivery(1, behave="hangs"), delivery(2)))
    await world.started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.dead.letters == {}
    assert world.lanes.sent == []


async def test_a_batch_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """With a count of every outcome."""
    world = World()
    with caplog.at_level(logging.INFO, logger="sluice"):
        await world.process(delivery(1), delivery(1), delivery(2, behave="retry"), delivery(3, behave="reject"))
    (line,) = [record for record in caplog.records if record.message.split()[0] == "batch"]
    fields = cast("dict[str, Any]", line.__dict__["fields"])
    counted = {name: fields[name] for name in ("lane", "received", "done", "duplicates", "retried", "dead")}
    assert counted == {"lane": "normal", "received": 4, "done": 1, "duplicates": 1, "retried": 1, "dead": 1}
