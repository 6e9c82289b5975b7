"""Moves the bytes: staged blocks up, ranges down, a few at a time and each within its time."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from .content import BLOCK, WHOLE, Content
from .encoding import largest_stored
from .reference import BlobChanged, BlobMissing, BlobReference

if TYPE_CHECKING:
    from azure.storage.blob import BlobBlock
    from azure.storage.blob.aio import BlobClient

__all__ = ["download", "upload"]

_AT_ONCE = 4
"""Blocks on their way at the same time; with their copies in the transport they bound the memory of a transfer."""
_AHEAD = 3
"""Ranges on their way while one is used, which makes as many in memory."""
_CONTENT_TYPE = "application/json"
_RANGE_NOT_SATISFIABLE = 416


async def upload(blob: "BlobClient", content: Content, metadata: Mapping[str, str], *, seconds: float) -> None:
    """Return when the blob is there, whole; until then nothing of it can be seen. Each request has its seconds.

    Raises
    ------
    ResourceExistsError
        A blob is there already.
    """
    from azure.storage.blob import ContentSettings

    settings = ContentSettings(content_type=_CONTENT_TYPE)
    if content.whole is not None:
        async with asyncio.timeout(seconds):
            await blob.upload_blob(
                content.whole, length=len(content.whole), metadata=dict(metadata), content_settings=settings
            )
        return
    staged = await _stage(blob, content, seconds)
    async with asyncio.timeout(seconds):
        await blob.commit_block_list(
            staged, metadata=dict(metadata), content_settings=settings, match_condition=MatchConditions.IfMissing
        )


async def _stage(blob: "BlobClient", content: Content, seconds: float) -> "list[BlobBlock]":
    """Send the blocks. Their ids are this upload's own, so that two uploads at once never mix their blocks."""
    from azure.storage.blob import BlobBlock

    upload_id = uuid4().hex
    staged: list[BlobBlock] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def send(block_id: str, block: bytes) -> None:
        try:
            async with asyncio.timeout(seconds):
                await blob.stage_block(block_id, block, length=len(block))
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as tasks, aclosing(content.blocks()) as blocks:
            await slots.acquire()  # before the block is read: only what is on its way is in memory
            async for block in blocks:
                block_id = f"{upload_id}-{len(staged):05d}"
                staged.append(BlobBlock(block_id))
                tasks.create_task(send(block_id, block))
                del block
                await slots.acquire()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return staged


async def download(blob: "BlobClient", reference: BlobReference, *, seconds: float) -> AsyncGenerator[bytes, None]:
    """What is stored, in order; the next ranges are on their way while one is used.

    Raises
    ------
    BlobMissing, BlobChanged
    """
    largest = largest_stored(reference)
    # What may not come whole begins small: the first range is the only one that nothing else can be fetched beside.
    length = WHOLE if largest <= WHOLE else BLOCK
    first, stored = await _range(blob, 0, length if reference.size else None, seconds)
    if stored > largest or (reference.encoding is None and stored != reference.size):
        raise BlobChanged(f"The payload takes {stored} bytes, which can't be for one of {reference.size}.")
    pending: deque[asyncio.Task[tuple[bytes, int]]] = deque()
    offsets = iter(range(len(first), stored, BLOCK))

    def ahead() -> None:
        for offset in islice(offsets, _AHEAD - len(pending)):
            pending.append(asyncio.create_task(_range(blob, offset, BLOCK, seconds), name="blob-range"))

    try:
        if stored > len(first):
            ahead()
        yield first
        del first
        while pending:
            block, whole = await pending.popleft()
            if whole != stored or not block:
                raise BlobChanged("The payload was changed while it was read.")
            ahead()
            yield block
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _range(blob: "BlobClient", offset: int, length: int | None, seconds: float) -> tuple[bytes, int]:
    """Some bytes from `offset`, and how many are stored in all.

    No ETag is asked for: renewing a blob changes it, and the digest tells of every other change.
    """
    try:
        async with asyncio.timeout(seconds):
            stream = await blob.download_blob(None if length is None else offset, length)
            found = await stream.readall()
    except ResourceNotFoundError:
        raise BlobMissing("The payload isn't in Blob storage.") from None
    except HttpResponseError as error:
        if error.status_code == _RANGE_NOT_SATISFIABLE:
            raise BlobChanged("The payload is shorter than it should be.") from None
        raise
    return found, _stored(stream.properties.content_range, len(found))


def _stored(content_range: str | None, received: int) -> int:
    """The blob's size from `bytes 0-9/100` (RFC 9110, 14.4)."""
    whole = (content_range or "").rpartition("/")[2]
    return int(whole) if whole.isdigit() else received
