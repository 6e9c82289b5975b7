"""Reads a lane's dead-letter queue by the SDK, to which any body can come: a trigger's binding takes data alone."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.amqp import AmqpMessageBodyType
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError

from shared.messages import Delivery

from .any_message import take_any_message
from .given_up import BodyKind, GivenUp, Place, readable
from .suspects import headers_of

__all__ = ["DeadLetterReceiver", "Drain", "drained", "places"]

AT_ONCE = 16
"""Messages in memory at a time; each may be as large as the broker takes."""
MOST_FAILED = 64
WAIT_SECONDS = 1.0
_PAGE = 100
_FIRST = 1
_KEPT = (
    "content_type",
    "correlation_id",
    "subject",
    "to",
    "reply_to",
    "reply_to_session_id",
    "time_to_live",
)

DeadLetterReceiver: TypeAlias = ServiceBusReceiver
"""What receives from a dead-letter queue; only this room and the composition know its SDK."""

Complete = Callable[[GivenUp], Awaitable[None]]
Look = Callable[[], Awaitable[Sequence[Place]]]
Drain = Callable[[Sequence[GivenUp], Complete, Look], Awaitable[Sequence[GivenUp]]]
"""Deals with messages, completes each, may look at what lies in the queue; returns those that must come again."""


async def drained(receiver: DeadLetterReceiver, drain: Drain, *, time_left: Callable[[], bool]) -> bool:
    """Empty the queue of a receiver, some messages after the others; False where time ran out, or too many failed.

    What can't be dealt with keeps its lock to the end and is given back then: it doesn't come twice in one run.
    """
    take_any_message()
    failed: list[ServiceBusReceivedMessage] = []
    try:
        while time_left() and len(failed) < MOST_FAILED:
            received = await receiver.receive_messages(max_message_count=AT_ONCE, max_wait_time=WAIT_SECONDS)
            if not received:
                return not failed
            failed += await _deal_with(receiver, received, drain)
        return False
    finally:
        for message in failed:
            with suppress(ServiceBusError, ValueError):
                await receiver.abandon_message(message)


async def places(receiver: DeadLetterReceiver) -> list[Place]:
    """All that lies in the queue of a receiver, locked or not; nothing is received."""
    take_any_message()
    found: list[Place] = []
    while page := await receiver.peek_messages(
        max_message_count=_PAGE, sequence_number=found[-1].sequence_number + 1 if found else _FIRST
    ):
        found += map(_place, page)
    return found


def _place(message: ServiceBusReceivedMessage) -> Place:
    headers = headers_of(
        Delivery(body=b"", properties=_properties(message), message_id="", sequence_number=0, delivery_count=1)
    )
    return Place(message.sequence_number or 0, message.session_id, None if headers is None else headers.key)


def _properties(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    return {_text(name): _plain(value) for name, value in (message.application_properties or {}).items()}


async def _deal_with(
    receiver: DeadLetterReceiver, received: Sequence[ServiceBusReceivedMessage], drain: Drain
) -> list[ServiceBusReceivedMessage]:
    pairs = [(_given_up(message), message) for message in received]
    by_identity = {id(given_up): message for given_up, message in pairs}

    async def complete(given_up: GivenUp) -> None:
        with suppress(MessageLockLostError):  # it comes again, and is found to be dealt with
            await receiver.complete_message(by_identity[id(given_up)])

    failed = await drain([given_up for given_up, _ in pairs], complete, partial(places, receiver))
    return [by_identity[id(one)] for one in failed]


def _given_up(message: ServiceBusReceivedMessage) -> GivenUp:
    kind, body = _body(message)
    return GivenUp(
        delivery=Delivery(
            body=body,
            properties=_properties(message),
            message_id=_text(message.message_id) if message.message_id is not None else "",
            sequence_number=message.sequence_number or 0,
            delivery_count=(message.delivery_count or 0) + 1,
        ),
        kind=kind,
        session_id=message.session_id,
        more={name: getattr(message, name) for name in _KEPT},
    )


def _body(message: ServiceBusReceivedMessage) -> tuple[BodyKind, bytes]:
    body: Any = message.body
    if message.body_type is AmqpMessageBodyType.DATA:
        return BodyKind.DATA, body if isinstance(body, bytes) else b"".join(body)
    if message.body_type is AmqpMessageBodyType.SEQUENCE:
        return BodyKind.SEQUENCE, readable(list(body))
    return BodyKind.VALUE, readable(body)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """The SDK hands over texts as bytes, and so it does binary."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
