"""Content that belongs to rows of a table: values too large for them by digest, and bodies by name."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from .reference import BlobReference
from .store import BlobStore
from .sweeping import BlobSweeper, InUse

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["BodyStore", "ValueStore"]


class ValueStore:
    """Texts under the name of their owner and their own digest; the owner keeps the reference.

    A value is put before its owner is committed. When that fails, or when the owner gets another value, the blob
    is an orphan: it is swept once it is old, so that whoever still reads it can.
    """

    def __init__(self, container: "ContainerClient") -> None:
        self._blobs = BlobStore(container)

    async def put_value(self, owner: str, text: str) -> BlobReference:
        """Return when the value is kept; the same one of the same owner is uploaded once.

        Parameters
        ----------
        owner:
            Where the reference will be kept: up to 900 characters.
        """
        return await self._blobs.put(text.encode(), name=lambda sha256: f"{owner}:{sha256}")

    async def get_value(self, reference: BlobReference) -> str:
        """The value; raises BlobMissing or BlobChanged."""
        return (await self._blobs.get(reference)).decode()

    def sweeper(self, *, in_use: InUse, retention: timedelta, now: Callable[[], datetime]) -> BlobSweeper:
        """What deletes values that their owners gave up at least `retention` ago; see `BlobSweeper`."""
        return self._blobs.sweeper(in_use=in_use, retention=retention, now=now)

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._blobs.close()


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

    async def starting_with(self, prefix: str) -> AsyncIterator[str]:
        """The names of bodies that begin so."""
        with suppress(ResourceNotFoundError):
            async for name in self._container.list_blob_names(name_starts_with=prefix):
                yield str(name)

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
