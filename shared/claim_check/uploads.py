"""Payloads that are uploaded before their message: in blocks through the app, or by a link straight to the storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from shared.blobs import BlobChanged, BlobMissing, StagedBlobs

from .claim import ClaimChanged, ClaimMissing

__all__ = ["LARGEST_UPLOAD", "UPLOADS", "UPLOAD_LIVES", "Uploads"]

LARGEST_UPLOAD = 64 * 1024 * 1024
"""Bytes. A message takes up to twelve times its size while it is parsed: a worker of 2 GB parses two at once."""
UPLOADS = "uploads/"
"""Names of uploads begin so, beside the claims: no claim does."""
UPLOAD_LIVES = timedelta(days=1)
"""How long an upload waits for its message; then it is swept."""


class Uploads:
    """Uploads by their names; a message that names one is kept like any other, its payload as a claim of its own."""

    def __init__(self, blobs: StagedBlobs) -> None:
        self._blobs = blobs

    async def put_block(self, name: str, number: int, block: bytes) -> None:
        """Return when Blob storage has the block."""
        await self._blobs.stage(UPLOADS + name, number, block)

    async def link(self, name: str, *, now: datetime) -> tuple[str, datetime] | None:
        """A link to upload with and its end; None where clients can't reach the storage."""
        return await self._blobs.link(UPLOADS + name, now=now)

    async def get(self, name: str, *, size: int, sha256: str) -> bytes:
        """The whole upload.

        Raises
        ------
        ClaimMissing, ClaimChanged
            Nothing was uploaded, or not what the message says.
        """
        with _as_message_errors():
            return await self._blobs.get(UPLOADS + name, size=size, sha256=sha256)

    async def delete(self, name: str) -> None:
        """Delete an upload whose payload is kept elsewhere."""
        await self._blobs.delete(UPLOADS + name)

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._blobs.close()


@contextmanager
def _as_message_errors() -> Iterator[None]:
    try:
        yield
    except BlobMissing:
        raise ClaimMissing("Nothing was uploaded under this id.") from None
    except BlobChanged as error:
        raise ClaimChanged(str(error)) from None
