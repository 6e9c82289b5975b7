"""Queues through the asynchronous SDK: what each operation promises, and each error as the SDK's own exception."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
)


async def _one(receiver: ServiceBusReceiver) -> Any:
    (message,) = await receiver.receive_messages(max_wait_time=10)
    return message


async def _send(client: ServiceBusClient, queue: str, *messages: ServiceBusMessage) -> None:
    async with client.get_queue_sender(queue) as sender:
        await sender.send_messages(list(messages))


async def test_every_property_of_a_message_arrives(client: ServiceBusClient) -> None:
    """Broker properties, application properties of every kind, and the body byte for byte."""
    properties: dict[str | bytes, Any] = {"text": "é", "number": 7, "real": 1.5, "flag": True, "id": uuid.uuid4()}
    sent = ServiceBusMessage(
        b"\x00\xffbody",
        application_properties=properties,
        content_type="application/json",
        correlation_id="c-1",
        message_id="m-1",
        subject="about",
        to="there",
        reply_to="here",
        reply_to_session_id="s-2",
        partition_key="p-1",
        time_to_live=timedelta(minutes=5),
    )
    await _send(client, "plain", sent)
    async with client.get_queue_receiver("plain") as receiver:
        got = await _one(receiver)
        await receiver.complete_message(got)
    assert b"".join(got.body) == b"\x00\xffbody"
    assert {key.decode(): value for key, value in got.application_properties.items()} == {
        **properties,
        "text": "é".encode(),
    }
    assert (got.content_type, got.correlation_id, got.message_id, got.subject) == (
        "application/json",
        "c-1",
        "m-1",
        "about",
    )
    assert (got.to, got.reply_to, got.reply_to_session_id, got.partition_key) == ("there", "here", "s-2", "p-1")
    assert got.time_to_live == timedelta(minutes=5)
    assert got.state is ServiceBusMessageState.ACTIVE
    assert got.delivery_count == 0
    assert got.enqueued_sequence_number == got.sequence_number
    assert abs(datetime.now(UTC) - got.enqueued_time_utc) < timedelta(seconds=20)
    assert got.expires_at_utc == got.enqueued_time_utc + timedelta(minutes=5)


@pytest.mark.parametrize(
    "body",
    [{"value_body": {b"key": [1, 2.5, None]}}, {"sequence_body": [[1, "two"], [3]]}, {"data_body": [b"a", b"b"]}],
)
async def test_every_kind_of_body_arrives(client: ServiceBusClient, body: dict[str, Any]) -> None:
    """AMQP values, sequences and several data sections pass untouched."""
    async with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        await sender.send_messages(AmqpAnnotatedMessage(**body, annotations={"mine": "kept"}))
        got = await _one(receiver)
        await receiver.complete_message(got)
    raw = got.raw_amqp_message
    received = list(raw.body) if raw.body_type.value != "value" else raw.body
    expected = {"value_body": {b"key": [1, 2.5, None]}, "sequence_body": [[1, b"two"], [3]], "data_body": [b"a", b"b"]}
    assert received == expected[next(iter(body))]
    assert raw.annotations[b"mine"] == b"kept"


async def test_abandoned_message_returns_with_its_changes_and_counts(client: ServiceBusClient) -> None:
    """Released messages return uncounted, abandoned ones counted."""
    await _send(client, "plain", ServiceBusMessage("x"))
    async with client.get_queue_receiver("plain") as receiver:
        first = await _one(receiver)
        await receiver.abandon_message(first)
        again = await _one(receiver)
        assert (again.sequence_number, again.delivery_count) == (first.sequence_number, 1)
        await receiver.complete_message(again)


async def test_dead_lettered_message_says_why(client: ServiceBusClient) -> None:
    """Reason and description are there, in the sub-queue, with the number the message had."""
    await _send(client, "plain", ServiceBusMessage("bad"))
    async with client.get_queue_receiver("plain") as receiver:
        message = await _one(receiver)
        await receiver.dead_letter_message(message, reason="Invalid", error_description="no price")
    async with client.get_queue_receiver("plain", sub_queue="deadletter") as receiver:
        dead = await _one(receiver)
        assert (dead.dead_letter_reason, dead.dead_letter_error_description) == ("Invalid", "no price")
        assert dead.sequence_number == message.sequence_number
        await receiver.complete_message(dead)


async def test_deferred_message_is_received_by_number_only(client: ServiceBusClient) -> None:
    """It can be renewed, abandoned and completed, and a number that is not there is an error."""
    await _send(client, "plain", ServiceBusMessage("later"))
    async with client.get_queue_receiver("plain") as receiver:
        message = await _one(receiver)
        await receiver.defer_message(message)
        assert await receiver.receive_messages(max_wait_time=1) == []
        (peeked,) = await receiver.peek_messages(sequence_number=message.sequence_number)
        assert peeked.state is ServiceBusMessageState.DEFERRED
        (deferred,) = await receiver.receive_deferred_messages(message.sequence_number)
        assert deferred.delivery_count == 1
        assert await receiver.renew_message_lock(deferred) > datetime.now(UTC)
        await receiver.abandon_message(deferred)
        (deferred,) = await receiver.receive_deferred_messages([message.sequence_number])
        assert deferred.delivery_count == 2
        await receiver.complete_message(deferred)
        with pytest.raises(ServiceBusError):
            await receiver.receive_deferred_messages(message.sequence_number)


async def test_expired_lock_is_lost_and_the_message_dead_lettered_in_the_end(client: ServiceBusClient) -> None:
    """Two deliveries are allowed: after them the reason is MaxDeliveryCountExceeded."""
    await _send(client, "short-locks", ServiceBusMessage("slow"))
    async with client.get_queue_receiver("short-locks") as receiver:
        message = await _one(receiver)
        await asyncio.sleep(1.2)
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(message)
        again = await _one(receiver)
        assert again.delivery_count == 1
        await receiver.abandon_message(again)
    async with client.get_queue_receiver("short-locks", sub_queue="deadletter") as receiver:
        dead = await _one(receiver)
        assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"
        await receiver.complete_message(dead)


async def test_renewed_lock_lasts(client: ServiceBusClient) -> None:
    """Renewing three times keeps a one-second lock for longer than a second."""
    await _send(client, "short-locks", ServiceBusMessage("slow"))
    async with client.get_queue_receiver("short-locks") as receiver:
        message = await _one(receiver)
        for _ in range(3):
            await asyncio.sleep(0.5)
            await receiver.renew_message_lock(message)
        await receiver.complete_message(message)
        assert await receiver.receive_messages(max_wait_time=1) == []


async def test_scheduled_messages_come_on_time_unless_cancelled(client: ServiceBusClient) -> None:
    """Peek shows them before; cancelling one leaves the other; an unknown number is an error."""
    due = datetime.now(UTC) + timedelta(seconds=4)
    async with client.get_queue_sender("plain") as sender, client.get_queue_receiver("plain") as receiver:
        keep, drop = await sender.schedule_messages([ServiceBusMessage("keep"), ServiceBusMessage("drop")], due)
        states = {message.state for message in await receiver.peek_messages(10)}
        assert states == {ServiceBusMessageState.SCHEDULED}
        await sender.cancel_scheduled_messages(drop)
        with pytest.raises(ServiceBusError):
            await sender.cancel_scheduled_messages(drop)
        got = await _one(receiver)
        assert (str(got), got.state) == ("keep", ServiceBusMessageState.ACTIVE)
        assert got.sequence_number is not None
        assert got.sequence_number > max(keep, drop), "it is appended as if it were sent when it is due"
        assert got.scheduled_enqueue_time_utc is not None
        assert got.enqueued_time_utc >= due - timedelta(milliseconds=5)
        await receiver.complete_message(got)


async def test_expired_messages_are_dead_lettered_where_the_queue_says_so(client: ServiceBusClient) -> None:
    """Elsewhere they are just gone; the message's own time-to-live counts when it is shorter."""
    await _send(client, "short-lives", ServiceBusMessage("old"))
    await _send(client, "forgetful", ServiceBusMessage("old"))
    await asyncio.sleep(1.2)
    async with client.get_queue_receiver("forgetful") as receiver:
        assert await receiver.receive_messages(max_wait_time=0.5) == []
    async with client.get_queue_receiver("short-lives", sub_queue="deadletter") as receiver:
        dead = await _one(receiver)
        assert dead.dead_letter_reason == "TTLExpiredException"
        await receiver.complete_message(dead)


async def test_duplicates_within_the_window_are_dropped(client: ServiceBusClient) -> None:
    """The sender is told nothing, as in the service."""
    messages = [ServiceBusMessage(str(number), message_id=f"id-{number % 2}") for number in range(4)]
    await _send(client, "no-duplicates", *messages)
    await _send(client, "no-duplicates", ServiceBusMessage("again", message_id="id-0"))
    async with client.get_queue_receiver("no-duplicates", receive_mode="receiveanddelete") as receiver:
        got = await receiver.receive_messages(max_message_count=10, max_wait_time=2)
    assert [str(message) for message in got] == ["0", "1"]


async def test_peek_walks_in_order_from_anywhere(client: ServiceBusClient) -> None:
    """Peeking locks nothing and goes on where it ended."""
    await _send(client, "plain", *(ServiceBusMessage(str(number)) for number in range(5)))
    async with client.get_queue_receiver("plain", receive_mode="receiveanddelete") as receiver:
        first: list[Any] = list(await receiver.peek_messages(3))
        rest = await receiver.peek_messages(3)
        assert [str(message) for message in first + rest] == ["0", "1", "2", "3", "4"]
        middle = await receiver.peek_messages(1, sequence_number=first[2].sequence_number)
        assert str(middle[0]) == "2"
        got: list[ServiceBusReceivedMessage] = []
        while len(got) < 5:
            got += await receiver.receive_messages(max_message_count=5, max_wait_time=2)
        assert [str(message) for message in got] == ["0", "1", "2", "3", "4"]
        assert await receiver.peek_messages(1, sequence_number=1) == []


async def test_a_closed_receiver_gives_back_what_it_fetched_ahead(client: ServiceBusClient) -> None:
    """Messages that the application never saw are released, uncounted."""
    await _send(client, "plain", *(ServiceBusMessage(str(number)) for number in range(10)))
    async with client.get_queue_receiver("plain", prefetch_count=10) as receiver:
        message = await _one(receiver)
        await receiver.complete_message(message)
    async with client.get_queue_receiver("plain") as receiver:
        got: list[ServiceBusReceivedMessage] = []
        while len(got) < 9:
            batch = await receiver.receive_messages(max_message_count=10, max_wait_time=5)
            assert batch, f"only {len(got)} came back"
            got += batch
        assert {each.delivery_count for each in got} == {0}
        await asyncio.gather(*(receiver.complete_message(each) for each in got))


async def test_forwarding_moves_messages_and_dead_letters(client: ServiceBusClient) -> None:
    """A forwarded message has the target's number and keeps the first one beside it."""
    await _send(client, "forwarding", ServiceBusMessage("onwards"))
    await _send(client, "burying", ServiceBusMessage("doomed"))
    async with client.get_queue_receiver("burying") as receiver:
        await receiver.dead_letter_message(await _one(receiver), reason="because")
    async with client.get_queue_receiver("destination") as receiver:
        message = await _one(receiver)
        assert str(message) == "onwards"
        await receiver.complete_message(message)
    async with client.get_queue_receiver("graveyard") as receiver:
        message = await _one(receiver)
        assert (message.dead_letter_reason, message.dead_letter_source) == ("because", "burying")
        await receiver.complete_message(message)


async def test_a_message_of_many_frames_arrives_whole(client: ServiceBusClient) -> None:
    """Three megabytes, where the queue allows large messages."""
    body = bytes(range(256)) * 12_000
    async with client.get_queue_sender("premium") as sender, client.get_queue_receiver("premium") as receiver:
        await sender.send_messages(ServiceBusMessage(body))
        message = await _one(receiver)
        assert b"".join(message.body) == body
        await receiver.complete_message(message)


async def test_too_large_a_message_is_refused_and_the_sender_goes_on(client: ServiceBusClient) -> None:
    """256 KB is the limit of the standard tier."""
    async with client.get_queue_sender("plain") as sender:
        with pytest.raises(MessageSizeExceededError):
            await sender.send_messages(ServiceBusMessage(b"x" * 300_000))
        batch = await sender.create_message_batch()
        with pytest.raises(MessageSizeExceededError):
            batch.add_message(ServiceBusMessage(b"x" * 300_000))
        await sender.send_messages(ServiceBusMessage("fits"))
    async with client.get_queue_receiver("plain") as receiver:
        await receiver.complete_message(await _one(receiver))


async def test_a_full_queue_refuses_and_takes_again_after_a_receive(client: ServiceBusClient) -> None:
    """The quota is on the bytes held."""
    async with client.get_queue_sender("small") as sender, client.get_queue_receiver("small") as receiver:
        for _ in range(5):
            await sender.send_messages(ServiceBusMessage(b"x" * 200_000))
        with pytest.raises(ServiceBusQuotaExceededError):
            await sender.send_messages(ServiceBusMessage(b"x" * 200_000))
        await receiver.complete_message(await _one(receiver))
        await sender.send_messages(ServiceBusMessage(b"x" * 200_000))
        for _ in range(5):
            await receiver.complete_message(await _one(receiver))


async def test_missing_and_disabled_entities_are_told_apart(client: ServiceBusClient) -> None:
    """Each has its own exception, for senders and receivers."""
    for entity, error in (("nowhere", MessagingEntityNotFoundError), ("disabled", MessagingEntityDisabledError)):
        with pytest.raises(error):
            await _send(client, entity, ServiceBusMessage("x"))
        with pytest.raises(error):
            async with client.get_queue_receiver(entity) as receiver:
                await receiver.receive_messages(max_wait_time=1)
    with pytest.raises(MessagingEntityDisabledError):
        await _send(client, "send-disabled", ServiceBusMessage("x"))


async def test_two_receivers_share_without_overlap(client: ServiceBusClient) -> None:
    """Every message goes to one of them."""
    await _send(client, "plain", *(ServiceBusMessage(str(number)) for number in range(200)))

    async def drain() -> list[str]:
        got: list[str] = []
        async with client.get_queue_receiver("plain") as receiver:
            while batch := await receiver.receive_messages(max_message_count=20, max_wait_time=2):
                await asyncio.gather(*(receiver.complete_message(each) for each in batch))
                got += [str(each) for each in batch]
        return got

    first, second = await asyncio.gather(drain(), drain())
    assert sorted(map(int, first + second)) == list(range(200))


async def test_locks_outlive_the_connection(connection_string: str) -> None:
    """A client that vanishes keeps its locks until they expire; then the message comes to another."""
    async with ServiceBusClient.from_connection_string(connection_string) as client:
        await _send(client, "short-locks", ServiceBusMessage("kept"))
    vanishing = ServiceBusClient.from_connection_string(connection_string)
    receiver = vanishing.get_queue_receiver("short-locks")
    await _one(receiver)
    handler: Any = receiver._handler
    transport = handler._connection._transport
    transport.writer.transport.abort()
    async with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_receiver("short-locks") as other,
    ):
        again = await _one(other)
        assert again.delivery_count == 1
        await other.complete_message(again)
    await vanishing.close()


async def test_topic_copies_to_the_subscriptions_whose_rules_take_it(client: ServiceBusClient) -> None:
    """Rules are judged on application properties."""
    async with client.get_topic_sender("topic") as sender:
        for colour, size in (("red", 3), ("red", 1), ("blue", 9)):
            await sender.send_messages(
                ServiceBusMessage(f"{colour}{size}", application_properties={"colour": colour, "size": size})
            )
    for name, expected in (("all", ["red3", "red1", "blue9"]), ("red", ["red3"])):
        async with client.get_subscription_receiver("topic", name, receive_mode="receiveanddelete") as receiver:
            got: list[str] = []
            while batch := await receiver.receive_messages(max_message_count=10, max_wait_time=1):
                got += [str(message) for message in batch]
        assert got == expected
