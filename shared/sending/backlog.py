"""How long messages wait on the lanes: the age of the oldest, looked at without taking it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from azure.servicebus import ServiceBusMessageState
from azure.servicebus.aio import ServiceBusReceiver

from shared.messages import Lane

__all__ = ["Backlog"]

LOOKED_AT = 50
"""Messages at the head of a queue; those of them that are scheduled or deferred don't wait for anybody."""
_CLOSING_SECONDS = 1.0


class Backlog:
    """Looks at the head of each lane, over links that stay open.

    Parameters
    ----------
    receivers:
        Makes a receiver that peeks. A lane with sessions can't be looked at without taking one of them.
    now:
        The time of day; the broker's clock may differ from it by a little.
    """

    def __init__(
        self, receivers: Mapping[Lane, Callable[[], ServiceBusReceiver]], *, now: Callable[[], datetime]
    ) -> None:
        self._receivers = dict(receivers)
        self._now = now
        self._open: dict[Lane, ServiceBusReceiver] = {}
        self._looking = {lane: asyncio.Lock() for lane in receivers}  # a link serves one task at a time

    async def ages(self) -> dict[Lane, float]:
        """Seconds for which the oldest message of each lane has waited; 0 where none does."""
        lanes = list(self._receivers)
        found = await asyncio.gather(*(self._age(lane) for lane in lanes))
        return dict(zip(lanes, found, strict=True))

    async def _age(self, lane: Lane) -> float:
        async with self._looking[lane]:
            return await self._look(lane)

    async def _look(self, lane: Lane) -> float:
        receiver = self._open.get(lane)
        if receiver is None:
            receiver = self._open[lane] = self._receivers[lane]()
        try:
            messages = await receiver.peek_messages(LOOKED_AT, sequence_number=1)
        except BaseException:
            await self._drop(lane)
            raise
        waiting = (
            one.enqueued_time_utc
            for one in messages
            if one.state is ServiceBusMessageState.ACTIVE and one.enqueued_time_utc is not None
        )
        oldest = min((_in_utc(one) for one in waiting), default=None)
        return 0.0 if oldest is None else max(0.0, (self._now() - oldest).total_seconds())

    async def _drop(self, lane: Lane) -> None:
        """A link that failed once isn't used again."""
        receiver = self._open.pop(lane, None)
        if receiver is not None:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await receiver.close()

    async def close(self) -> None:
        """Close the links, each when nobody looks through it any more."""
        for lane, looking in self._looking.items():
            async with looking:
                await self._drop(lane)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
