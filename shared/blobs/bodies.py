"""Bodies that belong to rows of a table: whole, by name, overwritten by the same content."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["BodyStore"]


class BodyStore:
    """A container of bodies; it is made with the first one."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container

    async def put(self, name: str, body: bytes) -> None:
        """Return when the body is stored; what was there before is overwritten."""
        for last in (False, True):
            try:
                await self._container.upload_blob(name, body, length=len(body), overwrite=True)
                return
            except ResourceNotFoundError:
                if last:
                    raise
                with suppress(ResourceExistsError):
                    await self._container.create_container()

    async def get(self, name: str) -> bytes | None:
        """A body, or None."""
        with suppress(ResourceNotFoundError):
            return await (await self._container.download_blob(name)).readall()
        return None

    async def older(self, before: datetime) -> AsyncIterator[str]:
        """The names of bodies that were written before a moment."""
        with suppress(ResourceNotFoundError):
            async for blob in self._container.list_blobs():
                if blob.last_modified < before:
                    yield str(blob.name)

    async def delete(self, name: str, *, before: datetime) -> bool:
        """Delete a body that wasn't written again since a moment; False where it was, or is gone."""
        with suppress(ResourceNotFoundError, ResourceModifiedError):
            await self._container.delete_blob(name, if_unmodified_since=before)
            return True
        return False

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._container.close()
