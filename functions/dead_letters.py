"""What the broker gave up by itself comes to the dead-letter store; old dead letters leave it."""

import asyncio
import time
from datetime import timedelta
from typing import List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.dead_letters import InboxRecords, QueueDrain
from shared.messages import Delivery, Headers, Lane, MessageError
from shared.telemetry import log_event

from .lanes import delivery_of
from .services import Services

__all__ = ["dead_letters_blueprint", "queue_drain"]

_SWEEP_SECONDS = 120.0
_SWEEP_SCHEDULE = "0 17 3 * * *"


def dead_letters_blueprint(services: Services) -> func.Blueprint:
    """One drain per lane, and a daily sweep."""
    blueprint = func.Blueprint()
    drains = _Drains(services)

    async def dead_letters_high(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await drains.drain(Lane.HIGH, [delivery_of(message) for message in messages])

    async def dead_letters_normal(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await drains.drain(Lane.NORMAL, [delivery_of(message) for message in messages])

    async def dead_letters_low(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await drains.drain(Lane.LOW, [delivery_of(message) for message in messages])

    async def dead_letters_ordered(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await drains.drain(Lane.ORDERED, [delivery_of(message) for message in messages])

    queues = {
        dead_letters_high: "%SLUICE_LANE_HIGH%",
        dead_letters_normal: "%SLUICE_LANE_NORMAL%",
        dead_letters_low: "%SLUICE_LANE_LOW%",
        dead_letters_ordered: "%SLUICE_LANE_ORDERED%",  # a session queue's dead letters are read without sessions
    }
    for function, queue in queues.items():
        blueprint.service_bus_queue_trigger(
            arg_name="messages",
            connection="ServiceBus",
            queue_name=f"{queue}/$deadletterqueue",
            data_type="binary",
            cardinality="many",
        )(function)

    async def sweep_dead_letters(timer: func.TimerRequest) -> None:
        await _sweep(services)

    blueprint.timer_trigger(arg_name="timer", schedule=_SWEEP_SCHEDULE)(sweep_dead_letters)
    return blueprint


class _Drains:
    """Made when the first message comes, so that nothing connects before."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._drain: QueueDrain | None = None

    async def drain(self, lane: Lane, messages: list[Delivery]) -> None:
        if self._drain is None:
            self._drain = queue_drain(self._services)
        try:
            await self._drain.drain(lane, messages)
        except Exception:
            await asyncio.sleep(2.0)  # what fails comes again at once, and a dead-letter queue never gives up on it
            raise


def queue_drain(services: Services) -> QueueDrain:
    """The drain of all lanes, on the app's own stores."""
    decoder = services.decoder

    async def has_payload_hash(delivery: Delivery, headers: Headers, known: str) -> bool:
        try:
            return (await decoder.decode(delivery, headers)).has_payload_hash(known)
        except MessageError:
            return False

    inbox = InboxRecords(services.state)
    return QueueDrain(services.dead_letters, inbox, has_payload_hash=has_payload_hash, now=services.now)


async def _sweep(services: Services) -> None:
    """Delete what is past its retention, within a budget of time; what is left goes with the next sweep."""
    days = services.settings.dead_letter_retention_days
    deadline = time.monotonic() + _SWEEP_SECONDS
    swept = await services.dead_letters.sweep(
        services.now() - timedelta(days=days), time_left=lambda: time.monotonic() < deadline
    )
    log_event(
        "dead letters swept",
        level=30 if swept.open else 20,
        records=swept.records,
        open=swept.open,
        bodies=swept.bodies,
        finished=swept.finished,
        retentionDays=days,
    )
    given_up = await services.parking.give_up(timedelta(days=days + 1))
    for parked in given_up:
        log_event("key goes on undecided", level=40, key=parked.key, messageId=parked.blocked_by, retentionDays=days)
