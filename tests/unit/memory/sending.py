"""The lanes and the event hub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.messages import Headers, Lane
from shared.sending import BrokerMessage, NotSent, OutgoingEvent, Together

from .edge import Edge

__all__ = ["MemoryLanes", "MemoryPublisher", "Sent"]


@dataclass
class Sent:
    """A command that a lane took."""

    headers: Headers
    body: bytes
    when: datetime | None = None


class MemoryLanes(Edge):
    """The lanes' queues."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self._turn = asyncio.Lock()

    async def send(self, headers: Headers, body: bytes) -> None:
        """Take a command."""
        await asyncio.sleep(0)
        self._meet()
        self.sent.append(Sent(headers, body))

    async def encrypted(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """As it is."""
        return headers, body

    async def send_all(self, commands: Sequence[tuple[Headers, bytes]], together: Together) -> list[NotSent | None]:
        """Take commands in their order; nothing behind one that isn't taken."""
        found: list[NotSent | None] = []
        async with self._turn:
            for headers, body in commands:
                try:
                    if together.is_broken:
                        raise NotSent("one before it wasn't taken")
                    await self.send(headers, body)
                except NotSent as error:
                    together.is_broken = True
                    found.append(error)
                else:
                    found.append(None)
        return found

    async def forward(self, lane: Lane, message: BrokerMessage) -> None:
        """Take a message as it is."""
        self._meet()
        body = b"".join(bytes(part) for part in message.body)
        self.sent.append(
            Sent(
                Headers.from_properties(
                    {str(name): value for name, value in (message.application_properties or {}).items()}
                ),
                body,
            )
        )

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        """Take a delayed copy."""
        self._meet()
        self.sent.append(Sent(headers, body, when))


class MemoryPublisher(Edge):
    """The event hub."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[OutgoingEvent] = []

    async def publish(self, facts: Sequence[OutgoingEvent]) -> None:
        """Take every fact."""
        self._meet()
        self.facts.extend(facts)
