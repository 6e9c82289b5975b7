"""Sessions through the asynchronous SDK: locking, order, state, hand-over and listing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
)


async def _send(client: ServiceBusClient, queue: str, session: str, *bodies: str) -> None:
    async with client.get_queue_sender(queue) as sender:
        await sender.send_messages([ServiceBusMessage(body, session_id=session) for body in bodies])


async def _take(receiver: ServiceBusReceiver, count: int) -> list[str]:
    got: list[str] = []
    while len(got) < count:
        batch = await receiver.receive_messages(max_message_count=count, max_wait_time=5)
        assert batch, f"only {got} came"
        for message in batch:
            await receiver.complete_message(message)
        got += [str(message) for message in batch]
    return got


async def test_a_session_is_received_in_order_by_one_receiver(client: ServiceBusClient) -> None:
    """A second receiver of the same session is refused, another session is free."""
    await _send(client, "sessions", "a", "1", "2", "3")
    await _send(client, "sessions", "b", "x")
    async with client.get_queue_receiver("sessions", session_id="a") as receiver:
        assert receiver.session.session_id == "a"
        assert (receiver.session.locked_until_utc or datetime.min.replace(tzinfo=UTC)) > datetime.now(UTC)
        with pytest.raises(SessionCannotBeLockedError):
            async with client.get_queue_receiver("sessions", session_id="a"):
                pass
        async with client.get_queue_receiver("sessions", session_id="b") as other:
            assert await _take(other, 1) == ["x"]
        assert await _take(receiver, 3) == ["1", "2", "3"]


async def test_next_available_session_goes_to_whoever_waits(client: ServiceBusClient) -> None:
    """A waiter gets the session of the first message that comes; with none, it times out."""
    with pytest.raises(OperationTimeoutError):
        async with client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1):
            pass
    waiting = client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=20)
    opening = asyncio.create_task(waiting.__aenter__())
    await asyncio.sleep(1)
    await _send(client, "sessions", "late", "m")
    await opening
    assert waiting.session.session_id == "late"
    assert await _take(waiting, 1) == ["m"]
    await waiting.close()


async def test_session_state_is_kept_until_it_is_cleared(client: ServiceBusClient) -> None:
    """State outlives the receiver and the last message."""
    await _send(client, "sessions", "state", "m")
    async with client.get_queue_receiver("sessions", session_id="state") as receiver:
        assert await receiver.session.get_state() is None
        await receiver.session.set_state(b"step 1")
        await _take(receiver, 1)
    async with client.get_queue_receiver("sessions", session_id="state") as receiver:
        assert await receiver.session.get_state() == b"step 1"
        await receiver.session.set_state(None)
        assert await receiver.session.get_state() is None


async def test_a_lost_session_lock_is_told_and_the_session_passes_on(client: ServiceBusClient) -> None:
    """Settling after the lock's end fails; the next receiver gets the message, counted."""
    await _send(client, "short-sessions", "s", "m")
    async with client.get_queue_receiver("short-sessions", session_id="s") as receiver:
        (message,) = await receiver.receive_messages(max_wait_time=5)
        await asyncio.sleep(1.3)
        with pytest.raises(ServiceBusError):
            await receiver.complete_message(message)
    async with client.get_queue_receiver("short-sessions", session_id=NEXT_AVAILABLE_SESSION) as receiver:
        (message,) = await receiver.receive_messages(max_wait_time=5)
        assert message.delivery_count == 1
        await receiver.complete_message(message)


async def test_a_renewed_session_lock_lasts(client: ServiceBusClient) -> None:
    """Renewing covers the messages that were received already."""
    await _send(client, "short-sessions", "r", "m")
    async with client.get_queue_receiver("short-sessions", session_id="r") as receiver:
        (message,) = await receiver.receive_messages(max_wait_time=5)
        for _ in range(3):
            await asyncio.sleep(0.5)
            assert await receiver.session.renew_lock() > datetime.now(UTC)
        await receiver.complete_message(message)


async def test_closing_gives_unsettled_messages_back_in_order(client: ServiceBusClient) -> None:
    """What was received and not settled comes first again."""
    await _send(client, "sessions", "order", "1", "2", "3")
    async with client.get_queue_receiver("sessions", session_id="order") as receiver:
        assert len(await receiver.receive_messages(max_message_count=2, max_wait_time=5)) >= 1
    async with client.get_queue_receiver("sessions", session_id="order") as receiver:
        assert await _take(receiver, 3) == ["1", "2", "3"]


async def test_deferred_and_peeked_messages_respect_the_session(client: ServiceBusClient) -> None:
    """A session's receiver sees its own messages only."""
    await _send(client, "sessions", "mine", "m")
    await _send(client, "sessions", "theirs", "t")
    async with client.get_queue_receiver("sessions", session_id="mine") as receiver:
        assert [str(message) for message in await receiver.peek_messages(10)] == ["m"]
        (message,) = await receiver.receive_messages(max_wait_time=5)
        await receiver.defer_message(message)
        (deferred,) = await receiver.receive_deferred_messages(message.sequence_number or 0)
        await receiver.complete_message(deferred)
    async with client.get_queue_receiver("sessions", session_id="theirs") as receiver:
        assert await _take(receiver, 1) == ["t"]


async def test_a_message_without_session_is_refused(client: ServiceBusClient) -> None:
    """And so is a receiver without one, and a session receiver on a plain queue."""
    with pytest.raises(ServiceBusError):
        async with client.get_queue_sender("sessions") as sender:
            await sender.send_messages(ServiceBusMessage("no session"))
    with pytest.raises(ServiceBusError):
        async with client.get_queue_receiver("sessions") as receiver:
            await receiver.receive_messages(max_wait_time=1)
    with pytest.raises(ServiceBusError):
        async with client.get_queue_receiver("plain", session_id="s") as receiver:
            await receiver.receive_messages(max_wait_time=1)


async def test_sessions_are_listed(client: ServiceBusClient) -> None:
    """Sessions with messages are listed by name."""
    for name in ("l1", "l2"):
        await _send(client, "sessions", name, "m")
    assert [each async for each in client.list_queue_sessions("sessions")] == ["l1", "l2"]
    for name in ("l1", "l2"):
        async with client.get_queue_receiver("sessions", session_id=name) as receiver:
            await _take(receiver, 1)


async def test_a_named_session_without_messages_can_be_locked(client: ServiceBusClient) -> None:
    """Its first message comes to the receiver that holds it."""
    async with client.get_queue_receiver("sessions", session_id="early") as receiver:
        await _send(client, "sessions", "early", "m")
        assert await _take(receiver, 1) == ["m"]
