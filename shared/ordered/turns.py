"""The ordered lane's turns: a message that fails holds its own key; the later ones of that key wait."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from shared.messages import Delivery, Headers, Lane
from shared.work import Dead, Done, Duplicate, Ended, Message, Parked, RetryLater

from .parking import Parking
from .rows import Turn

__all__ = ["OrderedKeys", "Settles", "Turns"]


class Settles(Protocol):
    """Settles what has ended, on any lane: `shared.processing.Settler`."""

    async def settle(self, lane: Lane, ended: Ended) -> None:
        """Return when the original may be completed."""
        ...

    async def put_off(self, lane: Lane, ended: Ended, headers: Headers, retry: RetryLater) -> tuple[Headers, float]:
        """The headers of the next try, and the seconds until then."""
        ...


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

    def __init__(self, parking: Parking, settler: Settles, *, now: Callable[[], datetime]) -> None:
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
