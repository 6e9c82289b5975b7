"""A container as a tree of files that others write: sizes, copies on this machine's disk, folders."""

from pathlib import Path
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceNotFoundError

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["BlobFiles"]


class BlobFiles:
    """One such container; names of blobs are paths. What the storage raises is passed on, but for what isn't there."""

    def __init__(self, container: "ContainerClient", *, timeout: int = 30) -> None:
        self._container = container
        self._timeout = timeout

    async def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        try:
            found = await self._container.get_blob_client(path).get_blob_properties(timeout=self._timeout)
        except ResourceNotFoundError:
            return None
        return found.size

    async def fetch(self, path: str, target: Path) -> None:
        """Copy a file to a local one; FileNotFoundError where there is none."""
        try:
            download = await self._container.download_blob(path, timeout=self._timeout)
            with target.open("wb") as file:
                await download.readinto(file)
        except ResourceNotFoundError:
            raise FileNotFoundError(path) from None

    async def read(self, path: str) -> bytes | None:
        """A file whole; None where there is none."""
        try:
            download = await self._container.download_blob(path, timeout=self._timeout)
            return bytes(await download.readall())
        except ResourceNotFoundError:
            return None

    async def folders(self, path: str) -> list[str]:
        """Names of the folders in one, sorted."""
        try:
            found = [one.name async for one in self._container.walk_blobs(name_starts_with=f"{path}/", delimiter="/")]
        except ResourceNotFoundError:
            return []
        return sorted(name.removeprefix(f"{path}/").rstrip("/") for name in found if name.endswith("/"))

    async def close(self) -> None:
        """Close the container's client."""
        await self._container.close()
