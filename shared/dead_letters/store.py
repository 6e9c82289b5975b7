"""The one place where every dead letter ends, in Table storage, with bodies too large for it in Blob storage."""

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from .record import DeadLetter

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["DeadLetterStore"]

_INLINE = 8 * 65_536
_PIECE = 65_536


class DeadLetterStore:
    """Writes dead letters; writing the same one again replaces it, so a redelivery makes no second one."""

    def __init__(self, table: TableClient, bodies: "ContainerClient") -> None:
        self._table = table
        self._bodies = bodies

    async def put(self, letter: DeadLetter) -> None:
        """Return when the dead letter is stored."""
        row_key = hashlib.sha256(letter.identity.encode()).hexdigest()[:32]
        row: dict[str, Any] = {"PartitionKey": row_key[:2], "RowKey": row_key, **letter.columns()}
        if len(letter.body) <= _INLINE:
            starts = range(0, len(letter.body), _PIECE)
            row |= {f"body{number}": letter.body[start : start + _PIECE] for number, start in enumerate(starts)}
        else:
            row["bodyBlob"] = await self._upload(row_key, letter.body)
        try:
            await self._table.upsert_entity(row, mode=UpdateMode.REPLACE)
        except ResourceNotFoundError:  # the table isn't there yet
            with suppress(ResourceExistsError):
                await self._table.create_table()
            await self._table.upsert_entity(row, mode=UpdateMode.REPLACE)

    async def _upload(self, name: str, body: bytes) -> str:
        try:
            await self._bodies.upload_blob(name, body, overwrite=True)
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                await self._bodies.create_container()
            await self._bodies.upload_blob(name, body, overwrite=True)
        return name

    async def close(self) -> None:
        """Close the HTTP sessions."""
        await self._table.close()
        await self._bodies.close()
