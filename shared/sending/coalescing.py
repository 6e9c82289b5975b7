"""Commands on their way to their lane: sends that meet at one queue share a batch; each is answered when it was taken.

While one batch is on its way the next one fills, so the batch grows with the load and an idle queue adds no wait.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError, OperationTimeoutError, ServiceBusError

from shared.encryption import MessageEncryption
from shared.messages import Headers, Lane
from shared.telemetry import Metrics

from .encoding import EncodedMessage, add_encoded, encoded

__all__ = ["BrokerMessage", "CoalescingSender", "Lanes", "NotSent", "Together", "broker_message", "command"]

_CLOSING_SECONDS = 2.0


class NotSent(Exception):
    """The broker didn't confirm the message: it may or may not be there, so send the same id again."""


@dataclass(slots=True)
class Together:
    """Messages of one sender whose order counts: once one wasn't taken, none behind it is sent."""

    is_broken: bool = False


@dataclass(slots=True)
class _Waiting:
    message: "BrokerMessage | EncodedMessage"
    taken: asyncio.Future[None]
    together: Together | None = None


class CoalescingSender:
    """A queue's one sender per process.

    Parameters
    ----------
    open_sender:
        Makes the SDK's sender; called once, on the event loop.
    timeout:
        Seconds within which the broker must confirm a batch.
    max_waiting:
        Messages that may wait here; one more is refused at once, so that memory stays bounded. Scheduled ones are
        let in up to twice as many.
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
        self._closing: set[asyncio.Task[None]] = set()

    def _client(self) -> ServiceBusSender:
        if self._sender is None:
            self._sender = self._open_sender()
        return self._sender

    async def send(self, message: "BrokerMessage | EncodedMessage") -> None:
        """Return when the broker has taken the message.

        Raises
        ------
        NotSent
            The broker refused it, can't be reached, took too long, or too many messages wait already.
        """
        await self._send(message, most=self._max_waiting)

    async def _send(self, message: "BrokerMessage | EncodedMessage", *, most: int) -> None:
        waiting = self._enqueue(message, most=most)
        try:
            async with asyncio.timeout(self._timeout):
                await waiting.taken
        except TimeoutError:
            raise self._unconfirmed() from None

    def enqueue(
        self, messages: "Sequence[BrokerMessage | EncodedMessage]", together: Together
    ) -> "list[_Waiting | NotSent]":
        """Have messages sent in their order; each waits, or was refused since too many wait already.

        Parameters
        ----------
        together:
            Shared by all calls whose messages must not overtake each other.
        """
        found: list[_Waiting | NotSent] = []
        for message in messages:
            try:
                found.append(self._enqueue(message, together))
            except NotSent as refused:  # what waits already goes, and nothing behind it
                together.is_broken = True
                found.append(refused)
        return found

    async def confirmed(self, waiting: "Sequence[_Waiting | NotSent]") -> list[NotSent | None]:
        """Return when it is known of each message: None where the broker took it."""
        taken = [one.taken for one in waiting if isinstance(one, _Waiting)]
        try:
            if taken:
                await asyncio.wait(taken, timeout=self._timeout)
        finally:
            found = [one if isinstance(one, NotSent) else self._taken(one) for one in waiting]
        return found

    def _taken(self, waiting: _Waiting) -> NotSent | None:
        """What became of a message by now; one that still waits isn't waited for any more."""
        if not waiting.taken.done():
            waiting.taken.cancel()
            if waiting.together is not None:
                waiting.together.is_broken = True
            return self._unconfirmed()
        error = waiting.taken.exception()
        return error if error is None or isinstance(error, NotSent) else _not_sent(error)  # type: ignore[arg-type]

    def _enqueue(
        self, message: "BrokerMessage | EncodedMessage", together: Together | None = None, *, most: int | None = None
    ) -> _Waiting:
        most = self._max_waiting if most is None else most
        if len(self._waiting) >= most:
            raise NotSent(f"{most} messages wait for the broker already")
        waiting = _Waiting(message, asyncio.get_running_loop().create_future(), together)
        self._waiting.append(waiting)
        if self._drain is None or self._drain.done():
            # It sends for whoever comes while it runs: the first one's span and message aren't the others'.
            self._drain = asyncio.create_task(self._run(), name="coalescing-sender", context=Context())
        return waiting

    def _unconfirmed(self) -> NotSent:
        return NotSent(f"the broker didn't confirm the message within {self._timeout:g} s")

    async def schedule(self, message: "BrokerMessage | EncodedMessage", when: datetime) -> None:
        """Have the broker show the message from `when` on; an encoded one says so itself.

        It goes in a batch like any other, with its time: the SDK's call for it takes a second link, and two calls at
        once break the first one's while it is being opened. It is let in where new messages are refused, up to twice
        their limit: it ends a message that is handled already, and without it that message is handled again.

        Raises
        ------
        NotSent
        """
        if not isinstance(message, EncodedMessage):
            message.scheduled_enqueue_time_utc = when
        await self._send(message, most=2 * self._max_waiting)

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent."""
        return len(self._waiting)

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
                    began = time.perf_counter()
                    await self._client().send_messages(batch, timeout=self._timeout)
                    Metrics.send_duration.record(time.perf_counter() - began)
                    Metrics.send_batch.record(len(taken))
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
            if waiting.together is not None and waiting.together.is_broken:
                self._fail([self._waiting.popleft()], NotSent("one before it wasn't taken"))
                continue
            try:
                if isinstance(waiting.message, EncodedMessage):
                    add_encoded(batch, waiting.message)
                else:
                    batch.add_message(waiting.message)
            except MessageSizeExceededError:
                if taken:
                    return
                self._fail([self._waiting.popleft()], NotSent("the message is larger than the broker takes"))
                continue
            except Exception as error:
                self._fail([self._waiting.popleft()], _not_sent(error))
                continue
            taken.append(self._waiting.popleft())

    def _take_all(self) -> list[_Waiting]:
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _fail(self, waiting: list[_Waiting], error: NotSent) -> None:
        for one in waiting:
            if one.together is not None:
                one.together.is_broken = True
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


BrokerMessage: TypeAlias = ServiceBusMessage
"""A message as the broker takes it; only this room knows its SDK."""


def broker_message(
    body: bytes, *, broker_id: str | None, properties: Mapping[Any, Any], session_id: str | None = None
) -> BrokerMessage:
    """The Service Bus message of whatever goes to a lane."""
    return ServiceBusMessage(
        body,
        message_id=broker_id,
        content_type="application/json",
        session_id=session_id,
        application_properties=dict(properties),
    )


def command(headers: Headers, body: bytes) -> BrokerMessage:
    """The message of a command; an empty body goes with a claim."""
    properties, session_id = headers.to_properties(), _session_of(headers)
    return broker_message(body, broker_id=headers.broker_id, properties=properties, session_id=session_id)


def _encoded_command(headers: Headers, body: bytes, *, when: datetime | None = None) -> BrokerMessage | EncodedMessage:
    """The same as bytes; what can't be encoded is the SDK's to refuse."""
    properties, session_id = headers.to_properties(), _session_of(headers)
    try:
        return encoded(body, message_id=headers.broker_id, session_id=session_id, properties=properties, when=when)
    except (TypeError, ValueError):
        return command(headers, body)


def _session_of(headers: Headers) -> str | None:
    return headers.key if headers.lane is Lane.ORDERED else None


class Lanes:
    """The senders of all lanes.

    Parameters
    ----------
    encryption:
        Encrypts bodies on their way in. A copy that is sent later, and what is forwarded, go as they came.
    """

    def __init__(self, senders: Mapping[Lane, CoalescingSender], encryption: MessageEncryption | None = None) -> None:
        self._senders = dict(senders)
        self._encryption = encryption
        self._turn = 0
        self._away: set[Lane] = set()

    async def send(self, headers: Headers, body: bytes) -> None:
        """Return when the lane's queue has taken the command; raises NotSent, or KeysUnavailable."""
        if self._encryption is not None:
            headers, body = await self._encryption.encrypt(headers, body)
        await self._senders[headers.lane].send(_encoded_command(headers, body))

    async def encrypted(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """A command as `send_all` takes it; raises KeysUnavailable."""
        return (headers, body) if self._encryption is None else await self._encryption.encrypt(headers, body)

    async def send_all(self, commands: Sequence[tuple[Headers, bytes]], together: Together) -> list[NotSent | None]:
        """Send commands, in their order on each lane; None for each that its queue has taken.

        Commands of an earlier call go before those of a later one, whenever the earlier one ends.
        """
        by_lane: dict[Lane, list[int]] = {}
        for number, (headers, _) in enumerate(commands):
            by_lane.setdefault(headers.lane, []).append(number)
        waiting = {
            lane: self._senders[lane].enqueue([_encoded_command(*commands[number]) for number in numbers], together)
            for lane, numbers in by_lane.items()
        }
        found: list[NotSent | None] = [None] * len(commands)
        for lane, numbers in by_lane.items():
            for number, error in zip(numbers, await self._senders[lane].confirmed(waiting[lane]), strict=True):
                found[number] = error
        return found

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        """Schedule a delayed copy on the lane's queue; raises NotSent."""
        await self._senders[headers.lane].schedule(_encoded_command(headers, body, when=when), when)

    async def forward(self, lane: Lane, message: BrokerMessage, *, when: datetime | None = None) -> None:
        """Return when a lane's queue has taken a message as it is, to be shown from `when` on; raises NotSent."""
        if when is None:
            await self._senders[lane].send(message)
        else:
            await self._senders[lane].schedule(message, when)

    @property
    def waiting(self) -> int:
        """Messages that wait to be sent, on all lanes."""
        return sum(one.waiting for one in self._senders.values())

    async def probe(self) -> None:
        """Raise NotSent where a lane can't be reached.

        Each call asks one lane, the next in turn, and those that couldn't be reached lately: a new link is worth more
        to the broker than a message.
        """
        lanes = list(self._senders)
        asked = {lanes[self._turn % len(lanes)], *self._away}
        self._turn += 1
        found = await asyncio.gather(*(self._senders[lane].probe() for lane in asked), return_exceptions=True)
        failed = {lane: error for lane, error in zip(asked, found, strict=True) if error is not None}
        self._away = set(failed)
        for error in failed.values():
            raise error

    async def close(self) -> None:
        """Close every sender."""
        for sender in self._senders.values():
            await sender.close()
