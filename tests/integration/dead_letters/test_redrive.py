"""A replay takes effect once, whoever is killed or races, and every decision says who and why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.servicebus import ServiceBusMessage

from functions.composition.claims import claim_store
from functions.composition.processing import processor
from functions.composition.read_models import projector, read_models
from functions.composition.state import state_store
from shared.blobs import BodyStore
from shared.dead_letters import (
    Action,
    DeadLetterStore,
    Decision,
    Filters,
    InboxRecords,
    Ramp,
    Redrive,
    RedriveRun,
    ReplayOutcome,
    Status,
    StoredLetter,
)
from shared.encryption import KeysUnavailable
from shared.messages import Delivery, Lane, PayloadHash
from shared.sending import NotSent
from shared.streams import StreamEvent
from tests.integration.dead_letters.conftest import Shop

ORDER = Decision(by="operator", reason="the depot is open again")
PARCEL = "parcel-1"


class Killed(BaseException):
    """The process dies here."""


async def inbox_status(shop: Shop, letter: StoredLetter) -> str | None:
    assert letter.message_id is not None
    assert letter.key is not None
    row = await InboxRecords(shop.composition.get(state_store)).find(letter.message_id, letter.key)
    return None if row is None else str(row["status"])


async def test_a_mended_message_is_replayed_through_the_processor(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    assert (letter.status, letter.code, letter.category) == (Status.OPEN, "REJECTED", "business")
    shop.broken.clear()
    result = await shop.redrive().replay(letter, ORDER)
    assert result.action is Action.SEND
    assert await shop.effects(PARCEL) == 1
    assert await inbox_status(shop, letter) == "done"
    found = await shop.only(Filters())
    assert (found.status, found.replays) == (Status.REPLAYED, 1)
    assert [(note.action, note.by, note.reason) for note in found.history] == [("replay", "operator", ORDER.reason)]
    assert await shop.redrive().outcome(result.letter) is ReplayOutcome.DONE


async def test_a_replay_keeps_everything_but_attempts_and_broker_id(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    body = await shop.store.body(letter)
    await shop.redrive().replay(letter, ORDER)
    (sent,) = shop.sent
    properties = dict(sent.application_properties or {})
    assert b"".join(sent.body) == body
    assert sent.message_id == f"{letter.message_id}#r1"
    fresh = {"attempt": 1, "replay": 1, "firstAttemptAt": properties["firstAttemptAt"]}
    assert properties == {**letter.properties, **fresh}
    assert properties["tenant"] == "blue"
    assert str(properties["firstAttemptAt"]) > str(letter.properties["firstAttemptAt"])


async def test_a_message_that_fails_again_is_open_again_with_its_history(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    result = await shop.redrive().replay(letter, ORDER)
    assert await shop.redrive().outcome(result.letter) is ReplayOutcome.FAILED
    found = await shop.only(Filters())
    assert found.status is Status.OPEN
    assert [note.action for note in found.history] == ["replay", "failed again"]
    assert found.first_failure == letter.first_failure
    assert await inbox_status(shop, found) == "dead"

    shop.broken.clear()
    await shop.redrive().replay(found, ORDER)
    assert (await shop.only(Filters())).replays == 2
    assert shop.sent[-1].message_id == f"{letter.message_id}#r2"
    assert await shop.effects(PARCEL) == 1


async def test_a_replay_that_cannot_be_decoded_is_dead_again_in_the_inbox_too(shop: Shop) -> None:
    """The message breaks its contract: no replay can mend it, but it must not stay half open."""
    message = shop.message(PARCEL)
    message.application_properties = {**(message.application_properties or {}), "version": "9.0"}
    await shop.deliver(Lane.HIGH, message)
    letter = await shop.only(Filters())
    assert letter.code == "UNKNOWN_VERSION"
    result = await shop.redrive().replay(letter, ORDER)
    assert await shop.redrive().outcome(result.letter) is ReplayOutcome.FAILED
    assert await inbox_status(shop, letter) == "dead"


def dying_at(step: str, shop: Shop) -> Redrive:
    """A redrive whose process is killed at a step."""

    async def before_sending(lane: Lane, message: ServiceBusMessage) -> None:
        raise Killed

    async def after_sending(lane: Lane, message: ServiceBusMessage) -> None:
        await shop.deliver(lane, message)
        raise Killed

    class DyingInbox(InboxRecords):
        async def reopen(
            self, message_id: str, key: str, *, replay: int, payload_hash: PayloadHash | None = None
        ) -> str | None:
            raise Killed

    match step:
        case "before the inbox gives way":
            return shop.redrive(_inbox=DyingInbox(shop.composition.get(state_store)))
        case "before it is sent":
            return shop.redrive(before_sending)
        case _:
            return shop.redrive(after_sending)


STEPS = ["before the inbox gives way", "before it is sent", "after it is sent"]


@pytest.mark.parametrize("step", STEPS)
async def test_who_is_killed_between_two_steps_leaves_what_the_next_one_finishes(shop: Shop, step: str) -> None:
    letter = await shop.die(PARCEL)
    shop.broken.clear()
    with pytest.raises(Killed):
        await dying_at(step, shop).replay(letter, ORDER)
    assert (await shop.only(Filters())).status is Status.REPLAYING
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.SKIP_BUSY

    shop.clock += timedelta(minutes=3)
    result = await shop.redrive().replay(letter, Decision(by="grace", reason="go on"))
    assert result.action is (Action.CLOSE if step == "after it is sent" else Action.SEND)
    found = await shop.only(Filters())
    assert (found.status, found.replays) == (Status.REPLAYED, 1)
    assert await shop.effects(PARCEL) == 1
    assert {message.message_id for message in shop.sent} == {f"{letter.message_id}#r1"}


@pytest.mark.parametrize("step", STEPS)
async def test_a_broken_message_survives_a_kill_at_any_step(shop: Shop, step: str) -> None:
    letter = await shop.die(PARCEL)
    with pytest.raises(Killed):
        await dying_at(step, shop).replay(letter, ORDER)
    shop.clock += timedelta(minutes=3)
    shop.broken.clear()
    await shop.redrive().replay(letter, ORDER)
    assert (await shop.only(Filters())).status is Status.REPLAYED
    assert await shop.effects(PARCEL) == 1


async def test_a_copy_that_is_sent_twice_takes_effect_once(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    shop.broken.clear()

    async def twice(lane: Lane, message: ServiceBusMessage) -> None:
        await asyncio.gather(shop.deliver(lane, message), shop.deliver(lane, message))

    await shop.redrive(twice).replay(letter, ORDER)
    assert await shop.effects(PARCEL) == 1


async def test_of_two_operators_one_wins(shop: Shop) -> None:
    """Both have read the letter before either of them takes it."""
    letter = await shop.die(PARCEL)
    shop.broken.clear()
    both = asyncio.Barrier(2)

    class Together(DeadLetterStore):
        async def get(self, identity: str) -> StoredLetter | None:
            found = await super().get(identity)
            await both.wait()
            return found

    store = Together(shop.store._table, BodyStore(shop.bodies))
    redrives = [shop.redrive(_store=store) for _ in range(2)]
    results = await asyncio.gather(*(redrive.replay(letter, ORDER) for redrive in redrives))
    assert sorted(result.action for result in results) == sorted([Action.SEND, Action.SKIP_BUSY])
    assert len(shop.sent) == 1
    assert await shop.effects(PARCEL) == 1


async def test_a_replay_races_with_a_discard_and_one_of_them_wins(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    shop.broken.clear()
    replayed, discarded = await asyncio.gather(
        shop.redrive().replay(letter, ORDER), shop.redrive().discard(letter, ORDER)
    )
    won = (replayed.action is Action.SEND, discarded.action is Action.CLOSE)
    assert sum(won) == 1
    assert await shop.effects(PARCEL) == int(won[0])


async def test_a_broker_that_does_not_take_it_leaves_the_letter_open(shop: Shop) -> None:
    letter = await shop.die(PARCEL)

    async def refuse(lane: Lane, message: ServiceBusMessage) -> None:
        raise NotSent("no broker")

    result = await shop.redrive(refuse).replay(letter, ORDER)
    assert result.action is Action.UNREACHABLE
    found = await shop.only(Filters())
    assert (found.status, [note.action for note in found.history]) == (Status.OPEN, ["replay", "not handed over"])
    assert await inbox_status(shop, letter) == "dead"
    shop.broken.clear()
    await shop.redrive().replay(found, ORDER)
    assert await shop.effects(PARCEL) == 1


@pytest.mark.parametrize("failure", [KeysUnavailable("no vault"), ConnectionError("no store"), RuntimeError("a bug")])
async def test_a_replay_that_failed_leaves_the_letter_open_at_once(shop: Shop, failure: Exception) -> None:
    """Whatever it was: the next replay needs not wait, and isn't told of somebody else."""
    letter = await shop.die(PARCEL)

    async def fail(lane: Lane, message: ServiceBusMessage) -> None:
        raise failure

    result = await shop.redrive(fail).replay(letter, ORDER)
    assert (result.action, result.letter.status) == (Action.NO_ANSWER, Status.OPEN)
    assert await inbox_status(shop, letter) == "dead"
    shop.broken.clear()
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.SEND
    assert await shop.effects(PARCEL) == 1


async def test_a_replay_that_the_operator_stops_leaves_the_letter_open_at_once(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    sending = asyncio.Event()

    async def hang(lane: Lane, message: ServiceBusMessage) -> None:
        sending.set()
        await asyncio.Event().wait()

    replay = asyncio.create_task(shop.redrive(hang).replay(letter, ORDER))
    await sending.wait()
    replay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replay
    assert (await shop.only(Filters())).status is Status.OPEN
    shop.broken.clear()
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.SEND
    assert await shop.effects(PARCEL) == 1


async def test_a_run_ends_where_a_store_is_away(shop: Shop) -> None:
    await shop.die(PARCEL)

    async def fail(lane: Lane, message: ServiceBusMessage) -> None:
        raise KeysUnavailable("no vault")

    run = RedriveRun(shop.redrive(fail), Ramp(patience=0), clock=lambda: 0.0)
    report = await run.replay(shop.store.select(Filters()), ORDER)
    assert report.actions == {Action.NO_ANSWER: 1}
    assert "no vault" in str(report.stopped)


async def test_a_discarded_letter_says_who_and_why_and_is_not_replayed(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    assert (await shop.redrive().discard(letter, Decision(by="operator", reason="a test order"))).action is Action.CLOSE
    found = await shop.only(Filters())
    assert (found.status, found.history[-1].by, found.history[-1].reason) == (
        Status.DISCARDED,
        "operator",
        "a test order",
    )
    assert (await shop.redrive().replay(found, ORDER)).action is Action.SKIP_RESOLVED
    assert (await shop.redrive().discard(found, ORDER)).action is Action.SKIP_RESOLVED
    assert shop.sent == []


async def test_discarding_what_a_killed_replay_left_takes_the_message_out_of_effect(shop: Shop) -> None:
    """The copy may still be on its way: it must not take effect after the decision."""
    letter = await shop.die(PARCEL)
    shop.broken.clear()
    with pytest.raises(Killed):
        await dying_at("before it is sent", shop).replay(letter, ORDER)
    assert (await shop.redrive().discard(letter, ORDER)).action is Action.SKIP_BUSY
    shop.clock += timedelta(minutes=3)
    assert (await shop.redrive().discard(letter, ORDER)).action is Action.CLOSE
    assert await inbox_status(shop, letter) == "dead"
    await shop.composition.get(processor).process(Lane.HIGH, [await again(shop, letter)])
    assert await shop.effects(PARCEL) == 0


async def test_an_inbox_record_is_closed_for_its_own_replay_only(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    inbox, name = InboxRecords(shop.composition.get(state_store)), str(letter.message_id)
    assert await inbox.reopen(name, PARCEL, replay=1) == "replaying"
    assert await inbox.reopen(name, PARCEL, replay=2) == "replaying"
    await inbox.close(name, PARCEL, replay=1)
    assert await inbox_status(shop, letter) == "replaying"
    await inbox.close(name, PARCEL, replay=2)
    assert await inbox_status(shop, letter) == "dead"
    assert await inbox.reopen(str(uuid4()), PARCEL, replay=1) is None


async def test_a_message_id_conflict_is_not_replayed(shop: Shop) -> None:
    identity = uuid4()
    await shop.deliver(Lane.HIGH, shop.message(PARCEL, message_id=identity))
    await shop.deliver(Lane.HIGH, shop.message(PARCEL, message_id=identity, note="another payload"))
    letter = await shop.only(Filters())
    assert letter.code == "MESSAGE_ID_CONFLICT"
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.SKIP_CONFLICT
    assert (await shop.only(Filters())).status is Status.OPEN


async def test_a_letter_whose_message_was_processed_meanwhile_is_closed(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    shop.broken.clear()
    await InboxRecords(shop.composition.get(state_store)).reopen(str(letter.message_id), PARCEL, replay=1)
    await shop.deliver(Lane.HIGH, shop.message(PARCEL, message_id=uuid4()))
    shop.sent.clear()
    await shop.composition.get(processor).process(Lane.HIGH, [await again(shop, letter)])
    plan = await shop.redrive().plan(letter)
    assert plan.action is Action.CLOSE
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.CLOSE
    assert (await shop.only(Filters())).status is Status.REPLAYED
    assert shop.sent == []


async def again(shop: Shop, letter: StoredLetter) -> Delivery:
    properties: dict[str | bytes, Any] = {str(name): value for name, value in letter.properties.items()}
    body = await shop.store.body(letter)
    return shop.delivery(ServiceBusMessage(body, message_id=letter.message_id, application_properties=properties))


async def test_a_plan_changes_nothing(shop: Shop) -> None:
    letter = await shop.die(PARCEL)
    before = await shop.only(Filters())
    assert (await shop.redrive().plan(letter)).action is Action.SEND
    assert await shop.only(Filters()) == before
    assert await inbox_status(shop, letter) == "dead"


async def test_an_unreadable_message_keeps_its_letter_over_replays(shop: Shop) -> None:
    message = shop.message(PARCEL)
    message.application_properties = {"messageId": "not a uuid", "attempt": "many"}
    await shop.deliver(Lane.LOW, message)
    letter = await shop.only(Filters())
    result = await shop.redrive().replay(letter, ORDER)
    assert result.action is Action.SEND
    found = await shop.only(Filters())
    assert [note.action for note in found.history] == ["replay", "failed again"]


async def test_a_claim_travels_with_its_replay(shop: Shop) -> None:
    shop.broken[PARCEL] = ValueError("not yet")
    message = shop.message(PARCEL)
    payload = b"".join(message.body)
    claim = await shop.composition.get(claim_store).put(UUID(message.message_id or ""), payload)
    claimed = ServiceBusMessage(
        b"",
        message_id=message.message_id,
        application_properties={
            **(message.application_properties or {}),
            "claim": claim.name,
            "claimSha256": claim.sha256,
            "claimSize": claim.size,
            **({"claimEncoding": claim.encoding} if claim.encoding else {}),
        },
    )
    await shop.deliver(Lane.HIGH, claimed)
    letter = await shop.only(Filters())
    assert letter.claim == claim.name
    shop.broken.clear()
    assert (await shop.redrive().replay(letter, ORDER)).action is Action.SEND
    assert await shop.effects(PARCEL) == 1


async def test_a_claim_that_is_gone_is_said_before_anything_is_sent(shop: Shop) -> None:
    message = shop.message(PARCEL)
    missing: dict[str | bytes, Any] = {
        "claim": f"{message.message_id}/{'0' * 64}",
        "claimSha256": "0" * 64,
        "claimSize": 9,
    }
    message.application_properties = {**(message.application_properties or {}), **missing}
    await shop.deliver(Lane.HIGH, message)
    shop.sent.clear()
    letter = await shop.only(Filters())
    assert letter.code == "CLAIM_MISSING"
    result = await shop.redrive().replay(letter, ORDER)
    assert result.action is Action.FAILED
    assert shop.sent == []
    assert (await shop.only(Filters())).status is Status.OPEN
    assert await inbox_status(shop, letter) == "dead"


def event(parcel: str, number: int) -> StreamEvent:
    body = {
        "specversion": "1.0",
        "id": f"{uuid4()}:0",
        "type": "parcel.arrived",
        "source": "/test",
        "subject": parcel,
        "time": "2026-05-01T12:00:00Z",
        "dataschema": "urn:sluice:parcel.arrived:1.0",
        "data": {"parcelId": parcel},
        "sequence": "000000000001",
    }
    return StreamEvent(body=json.dumps(body).encode(), partition="3", offset=str(number * 100), sequence_number=number)


async def test_a_poison_event_is_replayed_through_its_projector(shop: Shop) -> None:
    shop.broken[PARCEL] = KeyError("a bug in the projection")
    await shop.composition.get(projector).project([event(PARCEL, 7), event("parcel-2", 8)])
    letter = await shop.only(Filters(source="events"))
    assert dict(letter.position) == {"partition": "3", "offset": "700", "sequenceNumber": 7}
    assert (letter.code, letter.category, letter.key) == ("PROJECTION_ERROR", "permanent", PARCEL)
    assert await shop.composition.get(read_models).get("parcels", PARCEL) is None

    still_broken = await shop.redrive().replay(letter, ORDER)
    assert await shop.redrive().outcome(still_broken.letter) is ReplayOutcome.FAILED
    assert (await shop.only(Filters())).status is Status.OPEN

    shop.broken.clear()
    result = await shop.redrive().replay(letter, ORDER)
    assert result.action is Action.PROJECT
    assert await shop.redrive().outcome(result.letter) is ReplayOutcome.DONE
    assert await shop.composition.get(read_models).get("parcels", PARCEL) is not None
    found = await shop.only(Filters())
    assert (found.status, found.replays) == (Status.REPLAYED, 2)
    assert shop.sent == []


async def many_dead(shop: Shop, count: int) -> None:
    for start in range(0, count, 20):
        await asyncio.gather(*(shop.die(f"parcel-{number}") for number in range(start, min(count, start + 20))))


def run_of(shop: Shop, **ramp: Any) -> RedriveRun:
    usual = {"canary": 5, "rate": 10_000.0, "patience": 5.0}
    return RedriveRun(shop.redrive(), Ramp(**{**usual, **ramp}), clock=asyncio.get_running_loop().time)


async def test_a_mended_group_is_replayed_in_waves(shop: Shop) -> None:
    await many_dead(shop, 60)
    shop.broken.clear()
    (group,) = await shop.store.groups(Filters(), now=shop.clock)
    assert (group.count, group.open) == (60, 60)
    report = await run_of(shop).replay(shop.store.select(Filters(fingerprint=group.fingerprint)), ORDER)
    assert (report.handed_over, report.outcomes[ReplayOutcome.DONE], report.stopped) == (60, 60, None)
    assert [await shop.effects(f"parcel-{number}") for number in range(60)] == [1] * 60
    (group,) = await shop.store.groups(Filters(), now=shop.clock)
    assert (group.count, group.open) == (60, 0)


async def test_a_run_stops_itself_while_the_cause_is_still_there(shop: Shop) -> None:
    await many_dead(shop, 40)
    report = await run_of(shop).replay(open_before_now(shop), ORDER)
    assert report.handed_over == 5
    assert report.stopped is not None
    assert (await shop.store.newest(Filters(status=frozenset({Status.OPEN})), 1))[1] == 40


def open_before_now(shop: Shop) -> AsyncIterator[StoredLetter]:
    return shop.store.select(Filters(status=frozenset({Status.OPEN, Status.REPLAYING}), until=shop.now()))


async def test_a_run_that_was_killed_half_way_is_finished_by_the_next(shop: Shop) -> None:
    await many_dead(shop, 30)
    shop.broken.clear()
    left = iter(range(17))

    async def until_killed(lane: Lane, message: ServiceBusMessage) -> None:
        if next(left, None) is None:
            raise Killed
        await shop.deliver(lane, message)

    dying = RedriveRun(shop.redrive(until_killed), Ramp(rate=10_000.0), clock=asyncio.get_running_loop().time)
    with pytest.raises(Killed):
        await dying.replay(open_before_now(shop), ORDER)
    await asyncio.sleep(0.2)  # what was under way beside the one that died comes to its own end
    shop.clock += timedelta(minutes=3)
    report = await run_of(shop).replay(open_before_now(shop), ORDER)
    assert report.stopped is None
    assert [await shop.effects(f"parcel-{number}") for number in range(30)] == [1] * 30
    assert (await shop.store.newest(Filters(status=frozenset({Status.REPLAYED})), 1))[1] == 30


async def test_two_runs_side_by_side_replay_each_letter_once(shop: Shop) -> None:
    await many_dead(shop, 40)
    shop.broken.clear()
    reports = await asyncio.gather(*(run_of(shop).replay(open_before_now(shop), ORDER) for _ in range(2)))
    assert sum(report.handed_over for report in reports) == 40
    assert len(shop.sent) == len({message.message_id for message in shop.sent}) == 40
    assert [await shop.effects(f"parcel-{number}") for number in range(40)] == [1] * 40
