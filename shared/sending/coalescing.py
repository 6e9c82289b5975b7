"""Sends that meet at one queue share a batch; each caller is answered when its batch was taken.

While one batch is on its way the next one fills, so the batch grows with the load and an idle queue adds no wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError, OperationTimeoutError, ServiceBusError

__all__ = ["CoalescingSender", "NotSent"]

_CLOSING_SECONDS = 2.0


class NotSent(Exception):
    """The broker didn't confirm the message: it may or may not be there, so send the same id again."""


@dataclass(slots=True)
class _Waiting:
    message: ServiceBusMessage
    taken: asyncio.Future[None]


class CoalescingSender:
    """A queue's one sender per process.

    Parameters
    ----------
    open_sender:
        Makes the SDK's sender; called once, on the event loop.
    timeout:
        Seconds within which the broker must confirm a batch.
    max_waiting:
        Messages that may wait here; one more is refused at once, so that memory stays bounded.
    """

    def __init__(
        self, open_sender: Callable[[], ServiceBusSender], *, timeout: float, max_waiting: int = 2_000
    ) -> None:
        self._open_sender = open_sender
        self._timeout = timeout
        self._max_waiting = max_waiting
        self._sender: ServiceBusSender | None = None
        self._waiting: deque[_Waiting] = deque()
        self._drain: asyncio.Task[None] | None = None
        self._scheduling = asyncio.Semaphore(16)
        self._closing: set[asyncio.Task[None]] = set()

    def _client(self) -> ServiceBusSender:
        if self._sender is None:
            self._sender = self._open_sender()
        return self._sender

    async def send(self, message: ServiceBusMessage) -> None:
        """Return when the broker has taken the message.

        Raises
        ------
        NotSent
            The broker refused it, can't be reached, took too long, or too many messages wait already.
        """
        if len(self._waiting) >= self._max_waiting:
            raise NotSent(f"{self._max_waiting} messages wait for the broker already")
        waiting = _Waiting(message, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run(), name="coalescing-sender")
        try:
            async with asyncio.timeout(self._timeout):
                await waiting.taken
        except TimeoutError:
            raise NotSent(f"the broker didn't confirm the message within {self._timeout:g} s") from None

    async def schedule(self, message: ServiceBusMessage, when: datetime) -> None:
        """Have the broker show the message from `when` on.

        Raises
        ------
        NotSent
        """
        async with self._scheduling:
            try:
                await self._client().schedule_messages(message, when, timeout=self._timeout)
            except (ServiceBusError, OSError) as error:
                raise NotSent(f"{type(error).__name__}: the delayed copy wasn't scheduled") from error

    async def probe(self) -> None:
        """Open a link to the queue that nobody has used before, and close it; raises NotSent where that fails.

        The sender's own link may have been open since long ago, and says nothing of the broker as it is now.
        """
        link = self._open_sender()
        try:
            async with asyncio.timeout(self._timeout):
                await link.create_message_batch()
        except (ServiceBusError, OSError, TimeoutError) as error:
            raise NotSent(f"{type(error).__name__}: the queue can't be reached") from error
        finally:  # behind the caller: closing takes the SDK half a second, and says nothing of the broker
            closing = asyncio.create_task(_close(link), name="close a probed link")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _run(self) -> None:
        while self._waiting:
            taken: list[_Waiting] = []
            try:
                batch = await self._client().create_message_batch()
                self._fill(batch, taken)
                if taken:
                    await self._client().send_messages(batch, timeout=self._timeout)
            except asyncio.CancelledError:
                self._fail(taken, NotSent("the app is closing"))
                raise
            except Exception as error:  # whatever the SDK raises, each caller must be answered
                self._fail(taken or self._take_all(), _not_sent(error))
            else:
                for waiting in taken:
                    if not waiting.taken.done():
                        waiting.taken.set_result(None)

    def _fill(self, batch: ServiceBusMessageBatch, taken: list[_Waiting]) -> None:
        while self._waiting:
            waiting = self._waiting[0]
            if waiting.taken.cancelled():  # the caller has gone before its message went
                self._waiting.popleft()
                continue
            try:
                batch.add_message(waiting.message)
            except MessageSizeExceededError:
                if taken:
                    return
                self._waiting.popleft()
                waiting.taken.set_exception(NotSent("the message is larger than the broker takes"))
                continue
            except Exception as error:
                self._waiting.popleft()
                waiting.taken.set_exception(_not_sent(error))
                continue
            taken.append(self._waiting.popleft())

    def _take_all(self) -> list[_Waiting]:
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _fail(self, waiting: list[_Waiting], error: NotSent) -> None:
        for one in waiting:
            if not one.taken.done():
                one.taken.set_exception(error)

    async def close(self) -> None:
        """Stop sending; callers that still wait get NotSent."""
        if self._drain is not None and not self._drain.done():
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
        await asyncio.gather(*self._closing)
        self._fail(self._take_all(), NotSent("the app is closing"))
        if self._sender is not None:
            await self._sender.close()
            self._sender = None


async def _close(link: ServiceBusSender) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_CLOSING_SECONDS):
            await link.close()


def _not_sent(error: Exception) -> NotSent:
    reason = "timed out" if isinstance(error, OperationTimeoutError) else "the broker didn't take it"
    sent = NotSent(f"{type(error).__name__}: {reason}")
    sent.__cause__ = error
    return sent
