"""The table of read models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.query import StoredRow, ViewRow

from .edge import Edge

__all__ = ["MemoryViews"]


@dataclass
class MemoryViews(Edge):
    """The table of read models."""

    rows: dict[tuple[str, str], str] = field(default_factory=dict)
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """The row with the highest sequence is shown, the first of them where two have it."""
        self._meet()
        for row in rows:
            place = (row.view, row.key)
            if row.sequence > self.sequences.get(place, -1):
                self.rows[place], self.sequences[place] = row.value, row.sequence

    async def get(self, view: str, key: str) -> str | None:
        """A row's JSON."""
        self._meet()
        return self.rows.get((view, key))

    async def read(self, view: str, key: str) -> StoredRow | None:
        """A row; its version is the number of its event."""
        text = await self.get(view, key)
        number = self.sequences.get((view, key), 0)
        return None if text is None else StoredRow(text, str(number), None, number)

    async def sequence(self, view: str, key: str) -> int:
        """The number of a row's event."""
        self._meet()
        return self.sequences.get((view, key), 0)

    async def version(self, view: str, key: str) -> str | None:
        """The number of a row's event."""
        row = await self.read(view, key)
        return None if row is None else row.version
