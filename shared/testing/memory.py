"""The app's stores over a table in memory, which is as atomic as the real one."""

from collections.abc import Mapping
from typing import Any

from shared.state import StateStore, partition_key
from shared.tables import Entity, MemoryTable

__all__ = ["MemoryStore"]


class MemoryStore(StateStore):
    """The state store over a table in memory."""

    def __init__(self, *, buckets: int, table: MemoryTable | None = None) -> None:
        self.table = table or MemoryTable("state")
        super().__init__([self.table], buckets=buckets)

    @property
    def rows(self) -> dict[tuple[str, str], Entity]:
        """(partition, row key) → row, of every bucket."""
        return {place: row for place, row in self.table.rows.items() if place[0] != "layout"}

    def put(self, bucket: int, row_key: str, columns: Mapping[str, Any]) -> None:
        """Have a row there from the beginning."""
        self.table.put({"PartitionKey": partition_key(bucket), "RowKey": row_key, **columns})
