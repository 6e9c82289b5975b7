"""How long messages wait, asked by several at once and to the end, over the SDK's links."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial

import pytest
from azure.servicebus.aio import ServiceBusClient

from local_azure.testing.processes import BrokerProcess
from shared.messages import Lane
from shared.sending import Backlog

LANES = {Lane.HIGH: "lane-high", Lane.LOW: "lane-low"}


async def test_a_link_serves_one_look_at_a_time(emulator: BrokerProcess, caplog: pytest.LogCaptureFixture) -> None:
    """Two that look at once, and a close that comes between: no link is closed while it is being opened."""
    caplog.set_level(logging.WARNING)
    async with ServiceBusClient.from_connection_string(emulator.connection_string) as client:
        receivers = {lane: partial(client.get_queue_receiver, name) for lane, name in LANES.items()}
        backlog = Backlog(receivers, now=lambda: datetime.now(UTC))
        looks = [asyncio.create_task(backlog.ages()) for _ in range(2)]
        await asyncio.sleep(0.002)  # the links are being opened
        await backlog.close()
        assert await asyncio.gather(*looks) == [dict.fromkeys(LANES, 0.0)] * 2
        await backlog.close()
    assert [record.message for record in caplog.records if record.name.startswith("azure")] == []
