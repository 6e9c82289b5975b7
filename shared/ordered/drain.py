"""Processes what waits on the ordered lane when it is its turn."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from shared.messages import Delivery, Headers, InvalidMessage, Lane
from shared.telemetry import log_event
from shared.work import Dead, Done, Duplicate, Ended, RetryLater

from .parking import Parking
from .turns import OrderedKeys

__all__ = ["ParkingDrain", "Pauses"]

_KEYS_AT_ONCE = 16


class Pauses(Protocol):
    """Knows what is paused: `shared.pausing.PauseWatch`."""

    async def holding(self, *, lane: str) -> object | None:
        """The pause that holds a lane up, if one does."""
        ...


class ParkingDrain:
    """Processes what waits: key by key in order, several keys side by side.

    Parameters
    ----------
    take_turn:
        Processes one message, and calls what settles it: the pipeline.
    budget:
        Seconds within which a new message may be begun; the next drain goes on with what is left.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        parking: Parking,
        ordered: OrderedKeys,
        take_turn: Callable[[Delivery, Callable[[Ended], Awaitable[None]]], Awaitable[Ended]],
        *,
        pauses: Pauses | None = None,
        now: Callable[[], datetime],
        budget: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parking = parking
        self._ordered = ordered
        self._take_turn = take_turn
        self._pauses = pauses
        self._now = now
        self._budget = budget
        self._clock = clock
        self._places = asyncio.Semaphore(_KEYS_AT_ONCE)

    async def drain(self) -> int:
        """Process the keys that are due; returns how many messages got an outcome. Two drains at once do no harm.

        Raises
        ------
        ExceptionGroup
            Some keys could not be drained; they wait as before. The others were drained.
        """
        if self._pauses is not None and await self._pauses.holding(lane=Lane.ORDERED.value) is not None:
            return 0
        outcomes: Counter[type] = Counter()
        deadline = self._clock() + self._budget
        keys = [parked.key async for parked in self._parking.due()]
        results = await asyncio.gather(*(self._drain(key, deadline, outcomes) for key in keys), return_exceptions=True)
        if keys:
            log_event(
                "parking drained",
                keys=len(keys),
                done=outcomes[Done],
                duplicates=outcomes[Duplicate],
                retried=outcomes[RetryLater],
                dead=outcomes[Dead],
            )
        _raise(results)
        return outcomes.total()

    async def _drain(self, key: str, deadline: float, outcomes: Counter[type]) -> None:
        async with self._places:
            while self._clock() < deadline:
                parked = (await self._parking.find([key])).get(key)
                if parked is None or parked.until is None or parked.until > self._now():
                    return
                turn = await self._parking.turn(parked)
                if turn is None:  # somebody else has moved on; the next round sees where
                    await asyncio.sleep(0)
                    continue
                begun = self._begun(turn.delivery, late=self._now() - parked.until)
                ended = await self._take_turn(begun, partial(self._ordered.settle_turn, turn=turn))
                outcomes[type(ended.outcome)] += 1

    def _begun(self, delivery: Delivery, *, late: timedelta) -> Delivery:
        """Attempts and the time they may take begin when it is a message's turn, not while it waits for others.

        Nor does a later attempt lose the time by which its turn came late, as it does after a pause.
        """
        now = self._now()
        if delivery.properties.get("attempt") == 1:
            first = now
        else:
            try:
                headers = Headers.from_properties(delivery.properties).waited(late.total_seconds())
            except InvalidMessage:  # the pipeline says so
                return delivery
            first = min(now, headers.first_attempt_at)
        accepted = delivery.properties.get("firstAttemptAt")
        moved: dict[str, Any] = {"acceptedAt": accepted, **delivery.properties}
        moved["firstAttemptAt"] = first.astimezone(UTC).isoformat()
        return replace(delivery, properties=moved)


def _raise(results: Sequence[BaseException | None]) -> None:
    for result in results:
        if result is not None and not isinstance(result, Exception):
            raise result
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        log_event("parking not drained", level=logging.ERROR, error=failures[0], keys=len(failures))
        raise ExceptionGroup(f"{len(failures)} parked keys couldn't be drained", failures)
