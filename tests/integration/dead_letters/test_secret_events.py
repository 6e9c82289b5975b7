"""What the broker gave up of the vault's events: an event is taken all the same, anything else is one dead letter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageProperties
from azure.storage.blob.aio import ContainerClient

from functions.dead_letters import drain_dead_letters
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from shared.blobs import BodyStore
from shared.dead_letters import DeadLetterStore, Filters, GivenUp, StoredLetter
from shared.messages import Delivery
from shared.rotation import GivenUpEvents, random_key
from shared.rotation.given_up import MOST_DELIVERIES
from shared.tables.azure import AzureTable
from tests.unit.shared.rotation.world import Rotating

QUEUE = "secret-events"


@pytest.fixture
async def store(azurite: AzuriteEndpoints) -> AsyncIterator[DeadLetterStore]:
    """An empty dead-letter store."""
    name, storage = uuid4().hex, azurite.connection_string
    bodies = ContainerClient.from_connection_string(storage, f"letters-{name}")
    made = DeadLetterStore(AzureTable.from_connection_string(storage, f"letters{name}"), BodyStore(bodies))
    yield made
    await made.close()


async def kept(store: DeadLetterStore) -> list[StoredLetter]:
    return [letter async for letter in store.select(Filters())]


async def test_a_bad_body_costs_itself_only(emulator: BrokerProcess, store: DeadLetterStore) -> None:
    """It had its whole batch given up, a good event included."""
    rotating = Rotating(random_key())
    bad: list[Any] = [
        AmqpAnnotatedMessage(value_body={"a": [1, None]}, properties=AmqpMessageProperties(message_id="map")),
        AmqpAnnotatedMessage(sequence_body=[[1, 2]], properties=AmqpMessageProperties(message_id="sequence")),
        AmqpAnnotatedMessage(
            value_body={"TYPE": "CHAR", "VALUE": "A"}, properties=AmqpMessageProperties(message_id="char")
        ),
    ]
    good = [ServiceBusMessage(json.dumps([rotating.event()]).encode()), ServiceBusMessage(b"no JSON")]
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        async with client.get_queue_sender(QUEUE) as sender:
            await sender.send_messages([bad[0], good[0], *bad[1:], good[1]])
        async with client.get_queue_receiver(QUEUE) as receiver:
            for _ in range(10):  # as a host whose binding fails
                for message in await receiver.receive_messages(max_message_count=5, max_wait_time=5):
                    await receiver.abandon_message(message)
        events = GivenUpEvents(lambda: rotating.events, store, now=lambda: datetime.now(UTC))
        dead = client.get_queue_receiver(QUEUE, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        assert await drain_dead_letters({QUEUE: (lambda: dead, events.drain)}, time_left=lambda: True)
    assert rotating.events.counts == {"rotated": 1, "refused": 1}
    letters = {str(letter.message_id): letter for letter in await kept(store)}
    assert {name: letter.body_kind for name, letter in letters.items()} == {
        "map": "value",
        "sequence": "sequence",
        "char": "value",
    }
    assert {(letter.source, letter.category, letter.lane) for letter in letters.values()} == {
        ("secret-events", "invalid", None)
    }
    assert await store.body(letters["map"]) == b'{"a": [1, null]}'


async def test_an_event_that_cannot_be_taken_is_tried_for_a_while(store: DeadLetterStore) -> None:
    """The rotation fails again and again; others beside it are taken."""
    rotating = Rotating(random_key())
    rotating.lease.taken = True
    events = GivenUpEvents(lambda: rotating.events, store, now=lambda: datetime.now(UTC))
    completed: list[GivenUp] = []

    async def complete(message: GivenUp) -> None:
        completed.append(message)

    def given_up(body: bytes, deliveries: int) -> GivenUp:
        why = {"DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "10 attempts"}
        return GivenUp(
            delivery=Delivery(body=body, properties=why, message_id="m", sequence_number=7, delivery_count=deliveries)
        )

    failing, last = (given_up(json.dumps(rotating.event()).encode(), n) for n in (11, MOST_DELIVERIES))
    other = given_up(b"no JSON", 11)
    assert await events.drain([failing, other], complete) == [failing]
    assert (completed, await kept(store)) == ([other], [])
    assert await events.drain([last], complete) == []
    (letter,) = await kept(store)
    assert (letter.code, letter.source) == ("MAX_DELIVERIES_EXCEEDED", "secret-events")
    assert letter.reason == "MaxDeliveryCountExceeded: 10 attempts"
    assert await store.body(letter) == failing.delivery.body
