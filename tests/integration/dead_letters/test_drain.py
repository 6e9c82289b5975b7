"""What the broker gave up by itself is stored once, with the broker's reason, unless it had taken effect."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.servicebus import ServiceBusMessage

from functions.composition.dead_letters import dead_letter_store, suspects
from functions.composition.state import parking, state_store
from shared.blobs import BodyStore
from shared.dead_letters import (
    MAX_RETURNS,
    MOST_DEATHS,
    RETURNS,
    BodyKind,
    DeadLetter,
    DeadLetterStore,
    Decision,
    Filters,
    InboxRecords,
    Status,
)
from shared.messages import Lane
from tests.integration.dead_letters.conftest import Shop

PARCEL = "parcel-1"
ORDER = Decision(by="operator", reason="the depot is open again")


@pytest.mark.parametrize(
    ("reason", "category", "code"),
    [
        ("MaxDeliveryCountExceeded", "transient", "MAX_DELIVERIES_EXCEEDED"),
        ("TTLExpiredException", "expired", "MESSAGE_EXPIRED"),
        ("HeaderSizeExceeded", "invalid", "DEAD_LETTERED"),
        ("a colleague's own", "permanent", "DEAD_LETTERED"),
    ],
)
async def test_the_brokers_reason_is_kept(shop: Shop, reason: str, category: str, code: str) -> None:
    message = shop.message(PARCEL)
    await shop.drain(Lane.HIGH, shop.given_up(message, reason, "after 10 deliveries"))
    letter = await shop.only(Filters())
    assert (letter.category, letter.code, letter.lane, letter.key) == (category, code, "high", PARCEL)
    assert letter.reason == f"{reason}: after 10 deliveries"
    assert letter.properties == dict(shop.delivery(message).properties)
    assert await shop.store.body(letter) == b"".join(message.body)
    row = await InboxRecords(shop.composition.get(state_store)).find(str(message.message_id), PARCEL)
    assert row is not None
    assert (row["status"], row["code"]) == ("dead", code)


async def test_a_message_without_reason_or_readable_properties_is_kept_too(shop: Shop) -> None:
    bare = ServiceBusMessage(b"\x00\xff", message_id="m-1", application_properties={})
    letter = shop.given_up(bare, "", "")
    await shop.drain(Lane.LOW, letter, letter)
    found = await shop.only(Filters())
    assert (found.reason, found.lane, found.message_id) == ("the broker gave no reason", "low", "m-1")
    assert await shop.store.body(found) == b"\x00\xff"


async def test_a_neighbour_of_a_bad_message_goes_back_to_its_lane_as_it_was(shop: Shop) -> None:
    """The broker gave it up with its batch, and the app never saw it: id, properties and all are kept."""
    message = shop.message(PARCEL)
    message.subject, message.correlation_id = "a subject", "a correlation"
    given_up = shop.given_up(message, "MaxDeliveryCountExceeded", returns=0)
    more = {"subject": message.subject, "correlation_id": message.correlation_id, "content_type": "application/json"}
    assert await shop.drain(Lane.HIGH, replace(given_up, more=more)) == []
    (back,) = shop.returned
    assert (back.message_id, back.subject, back.correlation_id) == (message.message_id, *list(more.values())[:2])
    assert b"".join(back.body) == b"".join(message.body)
    assert back.application_properties == {**(message.application_properties or {}), RETURNS: 1}
    assert (await shop.store.newest(Filters(), 1))[1] == 0
    await shop.deliver(Lane.HIGH, back)
    assert await shop.effects(PARCEL) == 1


async def test_what_keeps_coming_back_becomes_a_dead_letter(shop: Shop) -> None:
    """After three returns; the later ones wait a while, apart from those that they came with."""
    message = shop.message(PARCEL)
    for returns in range(MAX_RETURNS + 1):
        await shop.drain(Lane.HIGH, shop.given_up(message, "MaxDeliveryCountExceeded", returns=returns))
    assert [(one.application_properties or {})[RETURNS] for one in shop.returned] == [1, 2, 3]
    assert [when is None for when in shop.returned_at] == [True, False, False]
    letter = await shop.only(Filters())
    assert (letter.code, RETURNS in letter.properties) == ("MAX_DELIVERIES_EXCEEDED", False)


@pytest.mark.parametrize(("kind", "text"), [(BodyKind.VALUE, b"a JMS text"), (BodyKind.SEQUENCE, b"[[1, 2]]")])
async def test_a_body_that_no_binding_takes_is_one_dead_letter_and_never_goes_back(
    shop: Shop, kind: BodyKind, text: bytes
) -> None:
    """In readable form, and with its kind."""
    bare = ServiceBusMessage(text, message_id="m-1", application_properties={})
    bad = replace(shop.given_up(bare, "MaxDeliveryCountExceeded", returns=0), kind=kind)
    assert await shop.drain(Lane.HIGH, bad) == []
    letter = await shop.only(Filters())
    assert (letter.category, letter.code, letter.body_kind) == ("invalid", "DEAD_LETTERED", kind)
    assert letter.reason.endswith(f"; its body is an AMQP {kind}, and only data can be taken")
    assert await shop.store.body(letter) == text
    assert shop.returned == []


async def test_neighbours_on_the_ordered_lane_wait_before_what_comes_later_of_their_key(shop: Shop) -> None:
    """In the order in which they were sent, whatever the order in which the broker gave them up."""
    sent = [shop.message(PARCEL, note=number) for number in range(3)]
    given_up = [shop.given_up(message, "MaxDeliveryCountExceeded", returns=0) for message in sent]
    messages = [replace(message, session_id="s") for message in given_up]
    await shop.drain(Lane.ORDERED, *reversed(messages))
    keys = await shop.composition.get(parking).find([PARCEL])
    first = await shop.composition.get(parking).turn(keys[PARCEL])
    assert first is not None
    assert (first.delivery.message_id, keys[PARCEL].after - keys[PARCEL].first) == (messages[0].delivery.message_id, 3)
    assert RETURNS not in first.delivery.properties
    assert shop.returned == []


async def test_nothing_of_a_session_goes_before_what_failed_of_it(shop: Shop) -> None:
    class Failing(DeadLetterStore):
        async def put(self, letter: DeadLetter) -> None:
            raise ServiceRequestError("storage is away")

    failing = shop.composed({dead_letter_store: Failing(shop.store._table, BodyStore(shop.bodies))})
    expired = replace(shop.given_up(shop.message(PARCEL), "TTLExpiredException"), session_id="s")
    later = replace(shop.given_up(shop.message(PARCEL), "MaxDeliveryCountExceeded", returns=0), session_id="s")
    other = replace(later, session_id="t")
    assert await shop.drain(Lane.ORDERED, expired, later, other, app=failing) == [expired, later]
    assert shop.completed == [other]


async def test_a_message_that_killed_its_workers_does_not_go_back(shop: Shop) -> None:
    """Its dead letter begins anew: the two deaths are forgotten."""
    given_up = shop.given_up(shop.message(PARCEL), "MaxDeliveryCountExceeded", returns=0)
    for _ in range(MOST_DEATHS):
        await shop.note_death(given_up.delivery)
    assert await shop.drain(Lane.HIGH, given_up) == []
    assert (await shop.only(Filters())).code == "MAX_DELIVERIES_EXCEEDED"
    assert shop.returned == []
    assert await shop.composition.get(suspects).deaths(given_up.delivery) == 0


async def test_a_redelivery_from_the_dead_letter_queue_makes_no_second_letter(shop: Shop) -> None:
    message = shop.message(PARCEL)
    for _ in range(3):
        await shop.drain(Lane.HIGH, shop.given_up(message, "MaxDeliveryCountExceeded"))
    assert (await shop.only(Filters())).status is Status.OPEN


async def test_a_message_that_had_taken_effect_is_no_dead_letter(shop: Shop) -> None:
    """Its effects were committed, but the broker was never told: a host that dies between the two, ten times."""
    message = shop.message(PARCEL)
    await shop.deliver(Lane.HIGH, message)
    await shop.drain(Lane.HIGH, shop.given_up(message, "MaxDeliveryCountExceeded"))
    assert (await shop.store.newest(Filters(), 1))[1] == 0
    assert await shop.effects(PARCEL) == 1


async def test_another_payload_under_a_processed_id_is_kept(shop: Shop) -> None:
    identity = uuid4()
    await shop.deliver(Lane.HIGH, shop.message(PARCEL, message_id=identity))
    other = shop.message(PARCEL, message_id=identity, note="another payload")
    await shop.drain(Lane.HIGH, shop.given_up(other, "TTLExpiredException"))
    assert (await shop.only(Filters())).code == "MESSAGE_EXPIRED"
    row = await InboxRecords(shop.composition.get(state_store)).find(str(identity), PARCEL)
    assert row is not None
    assert row["status"] == "done"


async def test_a_replay_that_the_broker_gives_up_opens_its_letter_again(shop: Shop) -> None:
    letter = await shop.die(PARCEL)

    async def given_up(lane: Lane, message: ServiceBusMessage) -> None:
        await shop.drain(lane, shop.given_up(message, "MaxDeliveryCountExceeded"))

    await shop.redrive(given_up).replay(letter, ORDER)
    found = await shop.only(Filters())
    assert (found.status, found.code) == (Status.OPEN, "MAX_DELIVERIES_EXCEEDED")
    shop.broken.clear()
    await shop.redrive().replay(found, ORDER)
    assert await shop.effects(PARCEL) == 1


async def test_only_storage_fails_the_batch_and_the_rest_comes_again(shop: Shop) -> None:
    class Failing(DeadLetterStore):
        async def put(self, letter: DeadLetter) -> None:
            if letter.key == "parcel-2":
                raise ServiceRequestError("storage is away")
            await super().put(letter)

    messages = [shop.given_up(shop.message(f"parcel-{number}"), "TTLExpiredException") for number in range(4)]
    whole = shop.store
    failing = shop.composed({dead_letter_store: Failing(whole._table, BodyStore(shop.bodies))})
    assert await shop.drain(Lane.HIGH, *messages, app=failing) == [messages[2]]
    assert len(shop.completed) == 3
    assert await shop.drain(Lane.HIGH, *messages) == []
    assert (await whole.newest(Filters(), 1))[1] == 4
