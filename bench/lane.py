"""A lane's queue in a benchmark: filled with messages, drained by the loop that the host runs for a batch function."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

import integrations
from functions.composition import Composition
from functions.composition.processing import processor
from shared.messages import Delivery, Lane, discover
from shared.sending import command
from shared.settings import Settings
from shared.telemetry.logs import configure_json

from .messages import Sample
from .stack import emulator
from .storage import app_settings, azurite

__all__ = ["Deliver", "Rig", "drain", "fill", "refill", "rig"]

BATCH = 64
"""As in host.json."""

_SENT_AT_ONCE = 100

T = TypeVar("T")

Deliver = Callable[[Sequence[Delivery]], Awaitable[None]]


@dataclass(frozen=True)
class Rig:
    """A broker, a storage, and the app's composition on them, in this process."""

    broker: str
    storage: str
    settings: Settings
    composition: Composition
    client: ServiceBusClient
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the one event loop."""
        return self.runner.run(work)

    async def process(self, deliveries: Sequence[Delivery]) -> None:
        """Process a batch as the app does."""
        await self.composition.get(processor).process(Lane.NORMAL, deliveries)


@contextmanager
def rig() -> Iterator[Rig]:
    """Start what the worker path needs, and stop it."""
    with ExitStack() as stack:
        configure_json(stack.enter_context(open(os.devnull, "w", encoding="utf-8")))
        broker, storage = stack.enter_context(emulator("--volatile")), stack.enter_context(azurite())
        settings = Settings.load(app_settings(storage=storage, broker=broker))
        composition = Composition(settings, discover(integrations))
        runner = stack.enter_context(asyncio.Runner())
        client = ServiceBusClient.from_connection_string(broker)
        stack.callback(lambda: runner.run(client.close()))
        stack.callback(lambda: runner.run(composition.close()))
        yield Rig(broker, storage, settings, composition, client, runner)


async def fill(
    client: ServiceBusClient, queue: str, samples: Iterator[Sample], count: int, *, visible_at: datetime | None = None
) -> list[Sample]:
    """Send messages in batches; with `visible_at`, none is seen before that moment."""
    sent = list(islice(samples, count))
    await refill(client, queue, sent, visible_at=visible_at)
    return sent


async def refill(
    client: ServiceBusClient, queue: str, sent: Sequence[Sample], *, visible_at: datetime | None = None
) -> None:
    """Send these messages, as if for the first time."""
    async with client.get_queue_sender(queue) as sender:
        for start in range(0, len(sent), _SENT_AT_ONCE):
            messages = [command(sample.headers, sample.body) for sample in sent[start : start + _SENT_AT_ONCE]]
            if visible_at is None:
                await sender.send_messages(messages)
            else:
                await sender.schedule_messages(messages, visible_at)


async def drain(client: ServiceBusClient, queue: str, count: int, deliver: Deliver) -> float:
    """Receive, deliver, complete until `count` messages are done; returns seconds.

    Without the receiver's opening and closing, half a second each, which a host does once.
    """
    async with client.get_queue_receiver(queue) as receiver:
        started = time.perf_counter()
        while count > 0:
            messages = await receiver.receive_messages(max_message_count=min(BATCH, count), max_wait_time=5)
            if not messages:
                raise RuntimeError(f"{count} messages didn't come")
            await deliver([_delivery(number, message) for number, message in enumerate(messages)])
            await asyncio.gather(*(receiver.complete_message(message) for message in messages))
            count -= len(messages)
        return time.perf_counter() - started


def _delivery(number: int, message: ServiceBusMessage) -> Delivery:
    properties = {
        name.decode() if isinstance(name, bytes) else name: value.decode() if isinstance(value, bytes) else value
        for name, value in (message.application_properties or {}).items()
    }
    return Delivery(
        body=b"".join(message.body),
        properties=properties,
        message_id=message.message_id or "",
        sequence_number=number,
        delivery_count=1,
    )
