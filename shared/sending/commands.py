"""Commands on their way in: from a validated message to its lane."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from azure.servicebus import ServiceBusMessage

from shared.encryption import MessageEncryption
from shared.messages import Headers, Lane

from .coalescing import CoalescingSender

__all__ = ["BrokerMessage", "Lanes", "broker_message", "command"]


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
    session_id = headers.key if headers.lane is Lane.ORDERED else None
    properties = headers.to_properties()
    return broker_message(body, broker_id=headers.broker_id, properties=properties, session_id=session_id)


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
        await self._senders[headers.lane].send(command(headers, body))

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        """Schedule a delayed copy on the lane's queue; raises NotSent."""
        await self._senders[headers.lane].schedule(command(headers, body), when)

    async def forward(self, lane: Lane, message: BrokerMessage, *, when: datetime | None = None) -> None:
        """Return when a lane's queue has taken a message as it is, to be shown from `when` on; raises NotSent."""
        if when is None:
            await self._senders[lane].send(message)
        else:
            await self._senders[lane].schedule(message, when)

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
