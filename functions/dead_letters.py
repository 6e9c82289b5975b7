"""What the broker gave up by itself comes to the dead-letter store; old dead letters leave it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.dead_letters import DeadLetterReceiver, DeadLetterStore, Drain, Filters, Note, Status, drained
from shared.encryption import Erased
from shared.messages import Delivery, Headers, Lane, MessageError
from shared.ordered import Parking
from shared.processing import Decoder
from shared.telemetry import log_event

__all__ = ["drain_dead_letters", "has_payload_hash", "is_erased", "sweep"]

_SWEEP_SECONDS = 120.0


async def drain_dead_letters(
    queues: Mapping[str, tuple[Callable[[], DeadLetterReceiver], Drain]], *, time_left: Callable[[], bool]
) -> bool:
    """Take what the broker gave up in some queues; False: what is left goes with the next run.

    Parameters
    ----------
    queues:
        By name what makes a receiver of its dead letters, and what deals with them.

    Raises
    ------
    ExceptionGroup
        Some queues could not be read; the others were.
    """

    async def of_queue(name: str) -> bool:
        make_receiver, drain = queues[name]
        async with make_receiver() as receiver:
            return await drained(receiver, drain, time_left=time_left)

    results = await asyncio.gather(*(of_queue(name) for name in queues), return_exceptions=True)
    if failures := [result for result in results if isinstance(result, Exception)]:
        raise ExceptionGroup("dead-letter queues couldn't be read", failures)
    return all(results)


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


async def _discard_archived(store: DeadLetterStore, parking: Parking, *, now: datetime, deadline: float) -> None:
    """What was archived and not restored in its time is decided: on the ordered lane its key goes on.

    Nobody can restore it any more, so the key may go on before the dead letter says that it is decided.
    """
    async for found in store.select(Filters(status=frozenset({Status.ARCHIVED}))):
        if time.monotonic() >= deadline:
            return
        if found.archived_until is not None and found.archived_until > now:
            continue
        note = Note(at=now, action="discarded", by="sluice", reason="It was archived, and nobody restored it in time.")
        if found.lane == Lane.ORDERED and found.key and found.message_id:  # first: whoever dies here begins anew
            await parking.unblock(found.key, found.message_id, done_only=False)
        await store.change(found, status=Status.DISCARDED, note=note, at=now)


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
    await _discard_archived(store, parking, now=now(), deadline=deadline)
    given_up = await parking.give_up(timedelta(days=retention_days + 1))
    for parked in given_up:
        log_event(
            "key goes on undecided", level=40, key=parked.key, messageId=parked.blocked_by, retentionDays=retention_days
        )
    return swept.finished
