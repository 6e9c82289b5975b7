"""What the broker gave up by itself is stored once, with the broker's reason, unless it had taken effect."""

from __future__ import annotations

from uuid import uuid4

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.servicebus import ServiceBusMessage

from functions.composition.dead_letters import dead_letter_store
from functions.composition.state import state_store
from shared.blobs import BodyStore
from shared.dead_letters import DeadLetter, DeadLetterStore, Decision, Filters, InboxRecords, Status
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
