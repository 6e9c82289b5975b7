"""Blobs that another service writes into a container of ours: listed, read, and deleted once they are dealt with."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["ForeignBlobs"]


class ForeignBlobs:
    """One such container. What the storage raises is passed on, but for what isn't there."""

    def __init__(self, container: "ContainerClient", *, timeout: int = 30) -> None:
        self._container = container
        self._timeout = timeout

    async def names(self) -> AsyncIterator[str]:
        """The names, in the order of the alphabet; none where there is no container."""
        try:
            async for name in self._container.list_blob_names(timeout=self._timeout):
                yield name
        except ResourceNotFoundError:
            return

    async def read(self, name: str, *, largest: int) -> bytes | None:
        """The bytes of a blob; None where it has more than the largest that is wanted."""
        download = await self._container.download_blob(name, timeout=self._timeout)
        return bytes(await download.readall()) if download.size <= largest else None

    async def delete(self, name: str) -> None:
        """Delete a blob, as it is now."""
        try:
            await self._container.delete_blob(name, delete_snapshots="include", timeout=self._timeout)
        except ResourceNotFoundError:
            return

    async def close(self) -> None:
        """Close the container's client."""
        await self._container.close()
