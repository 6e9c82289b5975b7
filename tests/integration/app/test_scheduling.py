"""Messages for later, by many at once, over the one link of their queue."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import ServiceBusMessageState
from azure.servicebus.aio import ServiceBusClient

from local_azure.testing.processes import BrokerProcess
from shared.sending import CoalescingSender, broker_message

QUEUE = "webhook-deliveries"
MANY = 200


async def test_many_schedule_and_send_at_once(emulator: BrokerProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Also while the link is being opened: each message is there once, for its own time."""
    caplog.set_level(logging.WARNING)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        sender = CoalescingSender(lambda: client.get_queue_sender(QUEUE), timeout=30)
        later = (
            sender.schedule(
                broker_message(b"{}", broker_id=f"later-{number}", properties={}), start + timedelta(seconds=number)
            )
            for number in range(MANY)
        )
        now = (sender.send(broker_message(b"{}", broker_id=f"now-{number}", properties={})) for number in range(20))
        await asyncio.gather(*later, *now)
        await sender.close()
        async with client.get_queue_receiver(QUEUE, max_wait_time=1) as receiver:
            peeked = [one for _ in range(2) for one in await receiver.peek_messages(MANY + 20)]
            found = {one.message_id: one for one in peeked}
            for message in await receiver.receive_messages(20, max_wait_time=5):
                await receiver.complete_message(message)
            waiting = [one.sequence_number or 0 for one in found.values() if str(one.message_id).startswith("later")]
    scheduled = {name: one for name, one in found.items() if one.state is ServiceBusMessageState.SCHEDULED}
    assert {name: one.scheduled_enqueue_time_utc for name, one in scheduled.items()} == {
        f"later-{number}": start + timedelta(seconds=number) for number in range(MANY)
    }
    assert len(waiting) == MANY
    assert [record.message for record in caplog.records if record.name.startswith("azure")] == []
