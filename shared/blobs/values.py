"""Values that are too large for the entity that they belong to."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .reference import BlobReference
from .store import BlobStore
from .sweeping import BlobSweeper, InUse

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["ValueStore"]


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
