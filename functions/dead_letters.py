"""What the broker gave up by itself comes to the dead-letter store; old dead letters leave it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func

from shared.dead_letters import DeadLetterStore, QueueDrain
from shared.encryption import Erased
from shared.messages import Delivery, Headers, Lane, MessageError
from shared.ordered import Parking
from shared.processing import Decoder
from shared.telemetry import log_event

from .lanes import delivery_of
from .triggers import AppName, Function, QueueTrigger

__all__ = ["Drains", "dead_letters_function", "has_payload_hash", "is_erased", "sweep"]

_SWEEP_SECONDS = 120.0


class Drains:
    """Takes the dead letters of every lane.

    Parameters
    ----------
    drain:
        Called with the first message, so that nothing connects before.
    """

    def __init__(self, drain: Callable[[], QueueDrain]) -> None:
        self._drain = drain

    async def take(self, lane: Lane, messages: list[Delivery]) -> None:
        """Keep dead letters of a lane."""
        drain = self._drain()
        try:
            await drain.drain(lane, messages)
        except Exception:
            await asyncio.sleep(2.0)  # what fails comes again at once, and a dead-letter queue never gives up on it
            raise


def dead_letters_function(lane: Lane, drains: Drains, *, queue: str, app: AppName) -> Function:
    """The function that drains one lane's dead letters; a session queue's are read without sessions."""

    async def drain(messages: List[func.ServiceBusMessage]) -> None:  # noqa: UP006
        await drains.take(lane, [delivery_of(message) for message in messages])

    drain.__name__ = f"dead_letters_{lane}"
    return Function(call=drain, trigger=QueueTrigger(queue=queue, dead_letters=True), app=app)


def has_payload_hash(decoder: Decoder) -> Callable[[Delivery, Headers, Mapping[str, Any]], Awaitable[bool]]:
    """Whether a dead letter is the payload that an inbox row is about; what can't be read isn't."""

    async def has(delivery: Delivery, headers: Headers, row: Mapping[str, Any]) -> bool:
        try:
            return (await decoder.decode(delivery, headers)).has_payload_of(row)
        except MessageError:
            return False

    return has


def is_erased(decoder: Decoder) -> Callable[[Delivery, Headers], Awaitable[bool]]:
    """Whether the person whom a message is about was erased since it was accepted; not where it can't be read."""

    async def erased(delivery: Delivery, headers: Headers) -> bool:
        try:
            await decoder.decode(delivery, headers)
        except Erased:
            return True
        except MessageError:
            return False
        return False

    return erased


async def sweep(store: DeadLetterStore, parking: Parking, *, retention_days: int, now: Callable[[], datetime]) -> bool:
    """Delete what is past its retention, within a budget of time; False: what is left goes with the next sweep."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    swept = await store.sweep(now() - timedelta(days=retention_days), time_left=lambda: time.monotonic() < deadline)
    log_event(
        "dead letters swept",
        level=30 if swept.open else 20,
        records=swept.records,
        open=swept.open,
        bodies=swept.bodies,
        finished=swept.finished,
        retentionDays=retention_days,
    )
    given_up = await parking.give_up(timedelta(days=retention_days + 1))
    for parked in given_up:
        log_event(
            "key goes on undecided", level=40, key=parked.key, messageId=parked.blocked_by, retentionDays=retention_days
        )
    return swept.finished
