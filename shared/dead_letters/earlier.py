"""What the broker gave up of a key is dealt with before anything later of that key, whenever the next drain is due."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

from shared.messages import Delivery, Lane

from .drain import QueueDrain
from .sub_queue import DeadLetterReceiver, drained, places
from .suspects import headers_of

__all__ = ["GivenUpEarlier"]

_DRAIN_SECONDS = 5.0
_AGAIN_SECONDS = 0.5


class GivenUpEarlier:
    """Looks into the ordered lane's dead-letter queue before a batch of it is processed.

    The broker hands out the messages of a session in their order, so what it gave up of a key lies among the dead
    letters before a later message of that key is delivered. A look that begins after that delivery sees it there; what
    it doesn't see has its end, or is parked.

    Parameters
    ----------
    receiver:
        Makes a receiver of that queue.
    """

    def __init__(self, receiver: Callable[[], DeadLetterReceiver], drain: QueueDrain) -> None:
        self._receiver = receiver
        self._drain = partial(drain.drain, Lane.ORDERED)
        self._looking = asyncio.Lock()
        self._eye: DeadLetterReceiver | None = None

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Return when nothing of these messages' keys lies there; how long that may take is up to the caller."""
        keys = {headers.key for one in deliveries if (headers := headers_of(one)) is not None}
        while keys and await self._lies(keys):
            await self._drain_it()
            if await self._lies(keys):  # another drain has it in hand, or storage has no answer
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _drain_it(self) -> None:
        deadline = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        async with self._receiver() as receiver:
            await drained(receiver, self._drain, time_left=lambda: asyncio.get_running_loop().time() < deadline)

    async def _lies(self, keys: Collection[str]) -> bool:
        async with self._looking:
            if self._eye is None:
                self._eye = self._receiver()  # opened with the first look, and kept: a link costs half a second
            return any(one.key in keys or one.session_id in keys for one in await places(self._eye))

    async def close(self) -> None:
        """Close what looks, when it has looked."""
        async with self._looking:
            if self._eye is not None:
                await self._eye.close()
