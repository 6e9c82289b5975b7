"""Blobs that clients write themselves: in blocks through the app, or by a link straight to the storage."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from .links import Links
from .reference import BlobChanged, BlobMissing, BlobReference
from .store import BlobStore

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

__all__ = ["StagedBlobs"]


class StagedBlobs:
    """Blobs whose content is known only when they are read: nothing is believed of them before.

    Parameters
    ----------
    largest:
        Bytes of the largest blob that is read.
    links:
        Makes links to the storage; None where clients can't reach it.
    """

    def __init__(
        self, container: "ContainerClient", *, largest: int, links: Links | None = None, timeout: float = 60.0
    ) -> None:
        self._container = container
        self._blobs = BlobStore(container, max_payload=largest, timeout=timeout)
        self._links = links
        self._timeout = timeout

    async def stage(self, name: str, number: int, block: bytes) -> None:
        """Return when Blob storage has the block, in place of an earlier one of that number (0 to 99,999)."""
        blob = self._container.get_blob_client(name)
        try:
            async with asyncio.timeout(self._timeout):
                await blob.stage_block(f"{number:05d}", block, length=len(block))
        except ResourceNotFoundError:  # the container isn't there yet
            with suppress(ResourceExistsError):
                await self._container.create_container()
            async with asyncio.timeout(self._timeout):
                await blob.stage_block(f"{number:05d}", block, length=len(block))

    async def link(self, name: str, *, now: datetime) -> tuple[str, datetime] | None:
        """A link with which anybody can write that blob and nothing else, and when it ends."""
        if self._links is None:
            return None
        return await self._links.writing(self._container, name, now=now)

    async def get(self, name: str, *, size: int, sha256: str) -> bytes:
        """What was written, checked; blocks that were staged are put together in the order of their numbers.

        Raises
        ------
        BlobMissing, BlobChanged
            Nothing was written, or something else.
        """
        reference = BlobReference(name, sha256, size)
        try:
            return await self._blobs.get(reference)
        except BlobMissing:
            await self._commit(reference)
            return await self._blobs.get(reference)

    async def open(self, name: str, *, size: int, sha256: str) -> AsyncGenerator[bytes, None]:
        """The same in pieces of a few MiB; only when the last one came is it certain that it is right."""
        reference = BlobReference(name, sha256, size)
        is_there = False
        try:
            async with aclosing(self._blobs.open(reference)) as pieces:
                async for piece in pieces:
                    is_there = True
                    yield piece
        except BlobMissing:
            if is_there:
                raise
            await self._commit(reference)
            async with aclosing(self._blobs.open(reference)) as pieces:
                async for piece in pieces:
                    yield piece

    async def write(self, name: str, content: bytes) -> None:
        """Keep a few bytes in place of what was there before."""
        blob = self._container.get_blob_client(name)
        async with asyncio.timeout(self._timeout):
            try:
                await blob.upload_blob(content, overwrite=True)
            except ResourceNotFoundError:  # the container isn't there yet
                with suppress(ResourceExistsError):
                    await self._container.create_container()
                await blob.upload_blob(content, overwrite=True)

    async def read(self, name: str) -> bytes | None:
        """What was kept by `write`; None where nothing was."""
        try:
            async with asyncio.timeout(self._timeout):
                found: bytes = await (await self._container.get_blob_client(name).download_blob()).readall()
        except ResourceNotFoundError:
            return None
        return found

    async def _commit(self, reference: BlobReference) -> None:
        blob = self._container.get_blob_client(reference.name)
        try:
            async with asyncio.timeout(self._timeout):
                _, staged = await blob.get_block_list("uncommitted")
        except ResourceNotFoundError:
            staged = []
        if not staged:  # nothing was uploaded, or somebody has just put it together: the next look says which
            return
        if (found := sum(block.size for block in staged)) != reference.size:
            raise BlobChanged(f"{len(staged)} blocks were uploaded, {found} bytes; {reference.size} are named.")
        try:
            async with asyncio.timeout(self._timeout):
                await blob.commit_block_list(sorted(staged, key=lambda block: block.id))
        except HttpResponseError as error:  # somebody else was first
            if getattr(error, "error_code", None) != "InvalidBlockList":
                raise

    async def delete(self, name: str) -> None:
        """Delete a blob that is there."""
        with suppress(ResourceNotFoundError):
            async with asyncio.timeout(self._timeout):
                await self._container.delete_blob(name)

    async def close(self) -> None:
        """Close the container's HTTP session."""
        await self._container.close()
