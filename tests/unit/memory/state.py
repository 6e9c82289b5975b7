"""The state table."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from shared.state import Row, partition_key
from shared.tables import Entity, Operation
from shared.testing import MemoryStore

from .edge import Edge

__all__ = ["MemoryState"]


class MemoryState(Edge, MemoryStore):
    """The state store over a table in memory, whose calls may fail."""

    def __init__(self, buckets: int = 4) -> None:
        Edge.__init__(self)
        MemoryStore.__init__(self, buckets=buckets)
        self.transactions: list[list[Operation]] = []
        self.finds = 0

    async def open(self) -> None:
        """Its layout is nobody's concern here."""
        self._meet()

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows that exist."""
        self.finds += 1
        await asyncio.sleep(0)
        return await super().find(bucket, row_keys)

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> list[str | None]:
        """All or nothing."""
        await asyncio.sleep(0)
        versions = await super().commit(bucket, operations)
        self.transactions.append(list(operations))
        return versions

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """What is gone already is fine."""
        self._meet()
        for key in row_keys:
            self.table.rows.pop((partition_key(bucket), key), None)

    def keys(self, prefix: str) -> list[str]:
        """Row keys that begin so, of every bucket."""
        return sorted(key for _, key in self.rows if key.startswith(prefix))

    def inbox(self, message_id: UUID) -> Entity | None:
        """The inbox record of a message, whatever its bucket."""
        found = [row for (_, key), row in self.rows.items() if key == f"inbox:{message_id}"]
        return found[0] if found else None
