"""Who changed which secret when and why, one row per rotation, in the table `audit`. Never a value."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

__all__ = ["AuditTrail"]

PARTITION = "rotation"


class AuditTrail:
    """Keeps the record of a rotation; its key is the secret and the version that was replaced."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._there = False
        self._opening = asyncio.Lock()

    async def write(self, secret: str, version: str, facts: Mapping[str, Any]) -> None:
        """Add facts to the record: it is begun before the secret is changed, so that a crash leaves a trace."""
        async with self._opening:
            if not self._there:
                with suppress(ResourceExistsError):
                    await self._table.create_table()
                self._there = True
        row = {"PartitionKey": PARTITION, "RowKey": f"{secret}:{version}", "secret": secret, "fromVersion": version}
        await self._table.upsert_entity({**row, **facts}, mode=UpdateMode.MERGE)

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._table.close()
