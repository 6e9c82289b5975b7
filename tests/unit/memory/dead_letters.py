"""The dead-letter store."""

from __future__ import annotations

from typing import Any

from shared.dead_letters import DeadLetter
from shared.dead_letters.rows import to_row

from .edge import Edge

__all__ = ["MemoryDeadLetters"]


class MemoryDeadLetters(Edge):
    """The dead-letter store: the same letter replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: dict[str, DeadLetter] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    async def put(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""
        self._meet()
        self.rows[letter.id] = to_row(letter)
        self.letters[letter.id] = letter
