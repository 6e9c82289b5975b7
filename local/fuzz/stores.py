"""What a run left in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient

__all__ = ["rows_of"]


async def rows_of(storage: str, table: str, query: str, columns: Sequence[str]) -> list[Any]:
    """Some columns of the rows that fit; none where there is no table yet."""
    async with TableClient.from_connection_string(storage, table) as client:
        try:
            found = client.query_entities(query, select=list(columns), results_per_page=1_000)
            return [row async for row in found]
        except ResourceNotFoundError:
            return []
