"""Commands and facts over AMQP: taken, in order, and shown when they are due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient

from local_azure.testing.processes import BrokerProcess
from shared.messages import Headers, Lane
from shared.sending import CoalescingSender, EventPublisher, Lanes, NotSent, OutgoingEvent

QUEUES = {Lane.HIGH: "lane-high", Lane.NORMAL: "lane-normal", Lane.LOW: "lane-low"}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def headers(number: int, lane: Lane = Lane.NORMAL) -> Headers:
    """Headers of a message."""
    return Headers(
        message_id=UUID(int=number),
        event_type="order.placed",
        version="1.0",
        source="/shop",
        key=f"Größe {number}",
        lane=lane,
        correlation_id="c-1",
        first_attempt_at=NOW,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        claim="a/b",
        claim_sha256="f" * 64,
        claim_size=70_000,
    )


@pytest.fixture
async def client(emulator: BrokerProcess) -> AsyncIterator[ServiceBusClient]:
    """A connection to the broker."""
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as connection:
        yield connection


@pytest.fixture
async def lanes(client: ServiceBusClient) -> AsyncIterator[Lanes]:
    """The app's own senders."""
    senders = {
        lane: CoalescingSender(partial(client.get_queue_sender, queue), timeout=10) for lane, queue in QUEUES.items()
    }
    made = Lanes(senders)
    yield made
    await made.close()


async def take(client: ServiceBusClient, queue: str, count: int) -> list[ServiceBusReceivedMessage]:
    """Receive and complete so many messages."""
    taken: list[ServiceBusReceivedMessage] = []
    async with client.get_queue_receiver(queue) as receiver:
        while len(taken) < count:
            got = await receiver.receive_messages(max_message_count=count - len(taken), max_wait_time=10)
            assert got, f"only {len(taken)} of {count} messages came"
            for message in got:
                await receiver.complete_message(message)
            taken += got
    return taken


async def test_commands_sent_side_by_side_are_all_taken_once(client: ServiceBusClient, lanes: Lanes) -> None:
    """Each with its own headers and body."""
    await asyncio.gather(*(lanes.send(headers(number), b"%d" % number) for number in range(500)))
    taken = await take(client, "lane-normal", 500)
    assert sorted(int(b"".join(message.body)) for message in taken) == list(range(500))
    message = taken[7]
    number = int(b"".join(message.body))
    properties = {
        name.decode(): value.decode() if isinstance(value, bytes) else value
        for name, value in (message.application_properties or {}).items()
        if isinstance(name, bytes)
    }
    assert Headers.from_properties(properties) == headers(number)
    assert (message.message_id, message.content_type) == (str(UUID(int=number)), "application/json")


async def test_a_message_larger_than_the_broker_takes_hurts_nobody_else(client: ServiceBusClient, lanes: Lanes) -> None:
    """Its neighbours are taken."""
    sends = [lanes.send(headers(1, Lane.HIGH), b"a"), lanes.send(headers(2, Lane.HIGH), b"x" * 2_000_000)]
    answers = await asyncio.gather(*sends, lanes.send(headers(3, Lane.HIGH), b"b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), NotSent, type(None)]
    assert len(await take(client, "lane-high", 2)) == 2


async def test_a_delayed_copy_is_shown_when_it_is_due(client: ServiceBusClient, lanes: Lanes) -> None:
    """Not before; with the next attempt and another broker id."""
    copy = headers(1, Lane.LOW).next_attempt()
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    await lanes.send_later(copy, b"later", due)
    (message,) = await take(client, "lane-low", 1)
    assert datetime.now(UTC) >= due - timedelta(milliseconds=50)
    assert message.message_id == copy.broker_id
    assert (message.application_properties or {})[b"attempt"] == 2


async def test_all_lanes_can_be_probed(lanes: Lanes) -> None:
    """Their links open."""
    await lanes.probe()


async def test_a_queue_that_is_not_there_is_not_sent(client: ServiceBusClient) -> None:
    """Told in time, and by no other name."""
    sender = CoalescingSender(lambda: client.get_queue_sender("no-such-queue"), timeout=10)
    lanes = Lanes(dict.fromkeys(Lane, sender))
    with pytest.raises(NotSent):
        await lanes.send(replace(headers(1), lane=Lane.NORMAL), b"x")
    with pytest.raises(NotSent):
        await lanes.probe()
    await lanes.close()


async def test_a_broker_that_is_gone_is_told_within_the_time_given(unused_tcp_port: int) -> None:
    """The SDK alone would try for much longer."""
    text = (
        f"Endpoint=sb://localhost:{unused_tcp_port};SharedAccessKeyName=Root;SharedAccessKey=none;"
        "UseDevelopmentEmulator=true;"
    )
    async with ServiceBusClient.from_connection_string(text) as nobody:
        sender = CoalescingSender(lambda: nobody.get_queue_sender("lane-high"), timeout=1)
        lanes = Lanes({Lane.HIGH: sender})
        started = asyncio.get_running_loop().time()
        with pytest.raises(NotSent):
            await lanes.send(headers(1, Lane.HIGH), b"x")
        assert asyncio.get_running_loop().time() - started < 3
        await lanes.close()


async def test_facts_are_read_in_the_order_of_their_buckets(emulator: BrokerProcess) -> None:
    """Each bucket on one partition, whatever the size of a batch."""
    producer = EventHubProducerClient.from_connection_string(emulator.connection_string, eventhub_name="events")
    publisher = EventPublisher(producer)
    facts = [OutgoingEvent(number % 7, b'{"n":%d,"pad":"%s"}' % (number, b"x" * 2_000)) for number in range(700)]
    for start in range(0, len(facts), 350):
        await publisher.publish(facts[start : start + 350])
    await publisher.close()

    seen: dict[str, list[int]] = {}
    complete = asyncio.Event()
    consumer = EventHubConsumerClient.from_connection_string(
        emulator.connection_string, "read-models", eventhub_name="events"
    )

    async def note(context: object, event: object) -> None:
        partition = context.partition_id  # type: ignore[attr-defined]
        seen.setdefault(partition, []).append(event.body_as_json()["n"])  # type: ignore[attr-defined]
        assert event.content_type == "application/cloudevents+json"  # type: ignore[attr-defined]
        if sum(map(len, seen.values())) == len(facts):
            complete.set()

    async with consumer:
        receiving = asyncio.create_task(consumer.receive(note, starting_position="-1"))
        async with asyncio.timeout(30):
            await complete.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    for partition, numbers in seen.items():
        for bucket in range(7):
            assert [n for n in numbers if n % 7 == bucket] == sorted(n for n in numbers if n % 7 == bucket)
        assert {n % 7 % 4 for n in numbers} == {int(partition)}
