"""Run by the tests in a process of its own: ten POSTs and one batch of ten messages, through an app that exports.

Its exporter is what the environment says. Prints when the work was over.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from uuid import UUID

import integrations
from functions.composition.processing import processor
from shared.messages import Delivery, discover
from shared.settings import Settings
from shared.telemetry import configure
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.functions.samples import envelope, order

configure(Settings.load({**ENVIRONMENT, **os.environ}))


async def main() -> None:
    """The work."""
    app = Running(discover(integrations))
    for number in range(10):
        data = order(orderId=str(536_000 + number))
        message = envelope(data, messageId=str(UUID(int=number + 1)))
        assert (await app.post("/api/orders", message)).status == 202
    deliveries = [
        Delivery(
            body=sent.body,
            properties={str(name): value for name, value in sent.headers.to_properties().items()},
            message_id=sent.headers.broker_id,
            sequence_number=number,
            delivery_count=1,
        )
        for number, sent in enumerate(app.lanes.sent)
    ]
    await app.composition.get(processor).process(app.lanes.sent[0].headers.lane, deliveries)


asyncio.run(main())
sys.stdout.write(f"{time.time()}\n")  # what follows is the end of the process
sys.stdout.flush()
