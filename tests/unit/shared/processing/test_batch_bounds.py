"""A batch: what it may take of time and memory, how it fails, and what comes twice or can't be read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from shared.claim_check import ClaimStore
from shared.classification import HIDDEN
from shared.dead_letters import DeadLetter
from shared.messages import Lane
from shared.outbox import OutboxRows
from shared.processing import BatchFailed, Decoder, Recent, pipeline
from shared.processing.deduplication import Deduplication
from shared.processing.handling import commit
from shared.secrets import UnknownSecret, VaultUnavailable
from shared.state import StateStore
from shared.tables import Upsert
from shared.work import Fresh, Handled, Message, Work
from tests.unit.memory import MemoryDeadLetters

from .conftest import HOLD
from .world import CARRIER_KEY, NOW, Stock, World, body, delivery, of, redelivered


async def test_a_spent_budget_makes_retries_wait_longer() -> None:
    """They aren't lost, they only don't storm."""
    world = World(reserve=2)
    await world.process(*(delivery(number, behave="has a bug") for number in range(1, 6)))
    waits = sorted((copy.when - NOW).total_seconds() for copy in world.lanes.sent if copy.when)
    assert waits == [2.0, 2.0, 300.0, 300.0, 300.0]


async def test_a_batch_larger_than_memory_is_processed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own outcome, one part after the other; what was read is let go."""
    monkeypatch.setattr(pipeline, "PART_BYTES", len(body(1, "A")) * 2)
    world = World()
    await world.process(
        *(delivery(number, "A", amount=number) for number in range(1, 6)),
        delivery(6, behave="reject"),
        delivery(7, behave="retry"),
        delivery(1, "A", amount=1),
    )
    assert world.stock("A") == {"total": 15, "moves": [1, 2, 3, 4, 5]}
    assert [event.sequence for event in world.told()] == [1, 2, 3, 4, 5]
    assert (world.status(6), len(world.lanes.sent)) == ("dead", 1)


async def test_storage_that_hangs_fails_the_batch_below_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instance must not get the messages while this one still works on them."""
    monkeypatch.setattr(pipeline, "GRACE_SECONDS", 0.05)
    world = World(timeout=0.02)

    async def hang(*_: object) -> dict[str, Any]:
        await asyncio.sleep(3_600)
        raise AssertionError

    monkeypatch.setattr(world.state, "find", hang)
    with pytest.raises(BatchFailed, match="TimeoutError"):
        async with asyncio.timeout(5):
            await world.process(delivery(1))


@pytest.mark.parametrize(
    ("tries", "left", "longest", "waits"),
    [
        (1, 20.0, 5.0, 0.5),
        (2, 20.0, 5.0, 1.0),
        (9, 20.0, 5.0, 5.0),
        (9, 20.0, 99.0, 20.0),
        (9, 3.0, 5.0, 3.0),
        (1, 0.0, 5.0, 0.0),
        (1, -1.0, 5.0, 0.0),
    ],
)
async def test_a_failed_batch_is_held_for_a_while_but_not_beyond_its_lock(
    tries: int, left: float, longest: float, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held longer, it could not be given back: others would have it while its delivery count is spent."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    ends = asyncio.get_running_loop().time() + left
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await HOLD([replace(delivery(1), delivery_count=tries)], ends, longest)
    assert slept == [pytest.approx(waits, abs=0.1)]


async def test_a_replayed_message_is_done_once_and_dies_again_where_it_must() -> None:
    """An operator opened its record; the second delivery of the replay is a duplicate."""
    world = World(attempts=1)
    for behave, after in (("well", "done"), ("has a bug", "dead")):
        number = 1 if behave == "well" else 2
        await world.process(delivery(number, behave="reject"))
        (place,) = [key for key in world.state.rows if key[1] == f"inbox:{UUID(int=number)}"]
        known = dict(world.state.rows[place]) | {"status": "replaying", "replay": 1}
        await world.state.commit(int(place[0]), [Upsert(known)])
        for _ in range(2):
            await world.process(delivery(number, behave=behave, with_headers={"replay": 1}))
        assert world.status(number) == after
    assert world.stock("item-1") == {"total": 1, "moves": [1]}
    assert len(world.calls) == 4


async def test_a_replay_that_another_instance_has_done_meanwhile_changes_nothing() -> None:
    """Its inbox row is replaced as it was read only: else it would undo what a later message of its key did."""
    world = World()
    await world.process(delivery(1, "A", behave="reject"))
    (place,) = [key for key in world.state.rows if key[1] == f"inbox:{UUID(int=1)}"]
    bucket, row = int(place[0]), dict(world.state.rows[place])
    await world.state.commit(bucket, [Upsert(row | {"status": "replaying", "replay": 1})])
    decoder = Decoder(world.registry, cast(ClaimStore, None), buckets=world.state.buckets)
    message = await decoder.read(delivery(1, "A", with_headers={"replay": 1}))
    assert isinstance(message, Message)
    store = cast(StateStore, world.state)
    (fresh,) = await Deduplication(store, Recent(), OutboxRows(store)).sort(bucket, [message])
    assert isinstance(fresh, Fresh)
    work = Work(
        headers=message.headers,
        buckets=world.state.buckets,
        source="/shop",
        load=world.state.find,
        now=lambda: NOW,
        payload_hash=message.payload_hash,
        aggregate=fresh.aggregate,
    )
    await work.save("stock", "A", Stock(total=1, moves=[1]))  # without a look at what was there, and nothing published
    await world.process(delivery(1, "A", with_headers={"replay": 1}), delivery(2, "A", amount=5))
    assert world.stock("A") == {"total": 6, "moves": [1, 5]}
    assert not await commit(store, bucket, [Handled(message, work, 0)])
    assert world.stock("A") == {"total": 6, "moves": [1, 5]}


@pytest.mark.parametrize("first", ["the good one", "the unreadable one"])
async def test_an_unreadable_message_never_hides_a_good_one_of_its_id(first: str) -> None:
    """Its death is recorded under the id they share, and only after the good one was dealt with."""
    world = World()
    good = delivery(1, "A", amount=5)
    batch = [good, of(b"not JSON", dict(good.properties), 1)]
    await world.process(*(batch if first == "the good one" else reversed(batch)), delivery(2))
    assert world.stock("A") == {"total": 5, "moves": [5]}
    assert (world.status(1), world.status(2)) == ("done", "done")
    assert len(world.dead.letters) == 1


async def test_unreadable_messages_do_not_hold_up_the_others() -> None:
    """They are written down while the handlers of the others run."""

    class Patient(MemoryDeadLetters):
        async def put(self, letter: DeadLetter) -> None:
            async with asyncio.timeout(1):
                await world.started.wait()
            await super().put(letter)

    world = World(dead=Patient())
    await world.process(of(b"not JSON", dict(delivery(1).properties), 1), delivery(2))
    assert world.status(2) == "done"
    assert len(world.dead.letters) == 1


async def test_a_secret_that_a_handler_was_given_is_told_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Not by the dead letter, not by the inbox, not by the log, though the handler puts it into its refusal."""
    world = World()
    await world.process(delivery(1, behave="shows the key"), delivery(2))
    assert world.reasons() == {str(UUID(int=1)): "NO_ACCESS"}
    (letter,) = world.dead.letters.values()
    assert letter.reason == f"the partner refuses {HIDDEN}"
    assert world.state.inbox(UUID(int=1)) is not None
    assert CARRIER_KEY not in f"{world.state.rows} {world.dead.letters} {caplog.text}"
    assert world.status(2) == "done"


async def test_a_vault_that_does_not_answer_makes_the_message_wait() -> None:
    """It is tried again by its plan, as after any failure that may pass."""
    world = World()
    world.handlers_vault.broken = VaultUnavailable("carrier", "no answer within 5 s")
    await world.process(delivery(1, behave="shows the key"))
    assert [sent.headers.attempt for sent in world.lanes.sent] == [2]
    assert world.dead.letters == {}


@pytest.mark.parametrize("attempt", [1, 2, 3])
async def test_a_secret_that_does_not_exist_is_given_two_minutes_to_appear(attempt: int) -> None:
    """It may be on its way from a deployment; then the message is dead, for good, and a replay takes it up."""
    world = World(attempts=50)
    world.handlers_vault.broken = UnknownSecret("carrier", "there is no such secret")
    await world.process(delivery(1, behave="shows the key", with_headers={"attempt": attempt}))
    copies = [(sent.headers.attempt, sent.when) for sent in world.lanes.sent]
    dead = [(letter.category, letter.code, letter.reason) for letter in world.dead.letters.values()]
    if attempt < 3:
        assert (copies, dead) == ([(attempt + 1, NOW + timedelta(seconds=66))], [])
    else:
        reason = "UnknownSecret: secret 'carrier': there is no such secret"
        assert (copies, dead) == ([], [("permanent", "HANDLER_ERROR", reason)])


@pytest.mark.parametrize("lane", [Lane.NORMAL, Lane.ORDERED])
@pytest.mark.parametrize("buckets", [1, 8])
async def test_an_outcome_is_settled_when_its_own_message_is_done(lane: Lane, buckets: int) -> None:
    """Not when a slow neighbour is: a refusal is recorded, a retry scheduled, what is done is committed and told."""
    world = World(timeout=60, buckets=buckets, in_order=lane is Lane.ORDERED)
    behaviour = {1: "waits", 2: "reject", 3: "retry", 4: "well"}
    batch = asyncio.create_task(
        world.processor.process(
            lane, [delivery(number, behave=behave, with_headers={"lane": lane}) for number, behave in behaviour.items()]
        )
    )
    for _ in range(1_000):
        if (world.status(2), world.status(4), len(world.told())) == ("dead", "done", 1) and world.put_off():
            break
        await asyncio.sleep(0.01)
    assert (world.status(2), world.status(4), len(world.told())) == ("dead", "done", 1)
    assert (len(world.put_off()), world.status(1), batch.done()) == (1, None, False)
    world.released.set()
    await batch
    assert (world.status(1), len(world.told())) == ("done", 2)


async def test_a_batch_that_fails_after_a_retry_was_scheduled_schedules_no_second_copy() -> None:
    """Its copy is with the broker; the original comes again with the rest of its batch."""
    world = World()
    batch = [delivery(1, behave="retry"), delivery(2, behave="reject")]
    world.dead.failures = [ConnectionError("away"), ConnectionError("away")]
    for _ in range(2):
        with pytest.raises(BatchFailed):
            await world.process(*batch)
    await world.process(*batch)
    assert [sent.headers.attempt for sent in world.lanes.sent] == [2]
    assert world.status(2) == "dead"
    (copy,) = world.lanes.sent
    await world.process(redelivered(copy))
    assert [sent.headers.attempt for sent in world.lanes.sent] == [2, 3]
