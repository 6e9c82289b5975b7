"""The lanes and the event hub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.messages import Headers
from shared.sending import OutgoingEvent

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

    async def send(self, headers: Headers, body: bytes) -> None:
        """Take a command."""
        await asyncio.sleep(0)
        self._meet()
        self.sent.append(Sent(headers, body))

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
