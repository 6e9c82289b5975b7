"""The ordered lane's turns: a message that fails holds its own key; the later ones of that key wait."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.messages import Delivery, Headers, InvalidMessage, Lane
from shared.ordered import Parking, Turn
from shared.pausing import PauseWatch
from shared.telemetry import log_event

from .outcomes import Dead, Done, Duplicate, Ended, Message, Parked, RetryLater
from .settling import Settler

__all__ = ["OrderedKeys", "ParkingDrain", "Turns"]

_KEYS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Turns:
    """Of some deliveries those whose turn it is, and those that wait safely from now on.

    Attributes
    ----------
    holding:
        Ids of the messages whose keys are blocked until they themselves are done.
    """

    now: Sequence[Message | Ended]
    parked: Sequence[Ended]
    holding: frozenset[UUID]


class OrderedKeys:
    """Decides whose turn it is, and gives effect to outcomes without letting a later message of a key go first."""

    def __init__(self, parking: Parking, settler: Settler, *, now: Callable[[], datetime]) -> None:
        self._parking = parking
        self._settler = settler
        self._now = now

    async def whose_turn(self, decoded: Sequence[Message | Ended]) -> Turns:
        """Sort out whose turn it is.

        The message that blocks its key is the only one that may pass: its replay, or a second delivery of it.
        """
        keys = await self._parking.find([_headers(one).key for one in decoded])
        turn: list[Message | Ended] = []
        parked: list[Ended] = []
        holding: set[UUID] = set()
        for one in decoded:
            headers = _headers(one)
            known = keys.get(headers.key)
            holds_key = known is not None and known.blocked_by == str(headers.message_id)
            if holds_key:
                holding.add(headers.message_id)
            if known is None or holds_key or not await self._parking.add(headers.key, _waiting(one)):
                turn.append(one)
            else:
                parked.append(Ended(one.delivery, Parked(), headers))
        return Turns(turn, parked, frozenset(holding))

    async def settle(self, ended: Ended, *, holds_key: bool) -> None:
        """Return when the original may be completed and the next message of its key may look."""
        headers = _headers(ended)
        match ended.outcome:
            case RetryLater() as retry:
                copy, seconds = await self._settler.put_off(Lane.ORDERED, ended, headers, retry)
                await self._parking.park(
                    headers.key,
                    _waiting(ended, copy),
                    message_id=str(headers.message_id),
                    until=self._now() + timedelta(seconds=seconds),
                    reason=retry.failure.reason,
                )
            case Dead():
                await self._settler.settle(Lane.ORDERED, ended)  # the death and the block are one transaction
            case Done() | Duplicate() if holds_key:
                await self._parking.unblock(headers.key, str(headers.message_id), done_only=True)

    async def settle_turn(self, ended: Ended, turn: Turn) -> None:
        """The same for a message that has waited for its turn."""
        match ended.outcome:
            case RetryLater() as retry:
                copy, seconds = await self._settler.put_off(Lane.ORDERED, ended, _headers(ended), retry)
                until = self._now() + timedelta(seconds=seconds)
                await self._parking.postpone(turn, _waiting(ended, copy), until=until, reason=retry.failure.reason)
            case Dead():
                await self._settler.settle(Lane.ORDERED, ended)
                await self._parking.release(turn)
            case _:
                await self._parking.release(turn)


class ParkingDrain:
    """Processes what waits: key by key in order, several keys side by side.

    Parameters
    ----------
    take_turn:
        Processes one message: the pipeline.
    budget:
        Seconds within which a new message may be begun; the next drain goes on with what is left.
    clock:
        Seconds, monotonic.
    """

    def __init__(
        self,
        parking: Parking,
        ordered: OrderedKeys,
        take_turn: Callable[[Delivery], Awaitable[Ended]],
        *,
        pauses: PauseWatch | None = None,
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
                ended = await self._take_turn(self._begun(turn.delivery, late=self._now() - parked.until))
                await self._ordered.settle_turn(ended, turn)
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


def _headers(decoded: Message | Ended) -> Headers:
    if decoded.headers is None:
        raise LookupError("the message doesn't say which key it belongs to")
    return decoded.headers


def _waiting(decoded: Message | Ended, headers: Headers | None = None) -> Delivery:
    """The message as it came, or as its next try."""
    known = replace(headers or _headers(decoded), lane=Lane.ORDERED)
    changed = {str(name): value for name, value in known.to_properties().items()}
    properties = {**decoded.delivery.properties, **changed}
    return replace(decoded.delivery, properties=properties, message_id=known.broker_id)
