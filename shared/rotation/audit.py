"""Who changed which secret when and why, one row per rotation, in the table `audit`. Never a value."""

from collections.abc import Mapping
from typing import Any

from shared.tables import Create, Replace, Table, again_on_conflict

__all__ = ["AuditTrail"]

PARTITION = "rotation"


class AuditTrail:
    """Keeps the record of a rotation; its key is the secret and the version that was replaced."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def write(self, secret: str, version: str, columns: Mapping[str, Any]) -> None:
        """Add columns to the record: it is begun before the secret is changed, so that a crash leaves a trace."""
        key = f"{secret}:{version}"

        async def add() -> None:
            known = await self._table.get(PARTITION, key)
            row = {"PartitionKey": PARTITION, "RowKey": key, "secret": secret, "fromVersion": version}
            if known is None:
                await self._table.submit([Create({**row, **columns})])
            else:
                await self._table.submit([Replace({**known, **row, **columns}, known.etag)])

        await again_on_conflict(add, subject=f"the record {key}")

    async def close(self) -> None:
        """Close the HTTP session."""
        await self._table.close()
