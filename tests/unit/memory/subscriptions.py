"""The deliveries' queue."""

from __future__ import annotations

from datetime import datetime

from shared.subscriptions import Wake

from .edge import Edge

__all__ = ["MemoryWakes"]


class MemoryWakes(Edge):
    """What is due, whenever that is."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Wake] = []

    async def send(self, wake: Wake, *, when: datetime | None = None) -> None:
        """Keep it; what is for later waits with the rest."""
        self._meet()
        self.waiting.append(wake)
