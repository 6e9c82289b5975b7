"""Uploads on a real storage: blocks put together, checked, and swept."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.blobs import BlobReference, StagedBlobs
from shared.claim_check import LARGEST_UPLOAD, ClaimChanged, ClaimMissing, ClaimStore, Uploads

MIB = 1024 * 1024


@pytest.fixture
def uploads(container: ContainerClient) -> Uploads:
    return Uploads(StagedBlobs(container, largest=LARGEST_UPLOAD))


def said(payload: bytes) -> dict[str, Any]:
    """What a message says of it."""
    return {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}


async def test_blocks_come_in_any_order_and_one_counts_once(uploads: Uploads) -> None:
    """The container isn't there before; more than ten, so that numbers aren't sorted as texts."""
    payload = os.urandom(12 * MIB)
    await uploads.put_block("one", 3, b"of an earlier try")
    for number in (11, *range(11)):
        await uploads.put_block("one", number, payload[number * MIB : (number + 1) * MIB])
    assert await uploads.get("one", **said(payload)) == payload
    assert await uploads.get("one", **said(payload)) == payload  # the message came again


async def test_what_was_put_there_by_a_link_is_read_too(uploads: Uploads, container: ContainerClient) -> None:
    """One request of the caller's own, without any block."""
    await container.create_container()
    await container.upload_blob("uploads/two", b"payload")
    assert await uploads.get("two", **said(b"payload")) == b"payload"


async def test_several_messages_may_name_an_upload_at_once(container: ContainerClient) -> None:
    """Whoever is second finds the blocks put together already, whenever that happens between its own looks."""
    payload = os.urandom(2 * MIB)

    class Late(StagedBlobs):
        """Somebody else puts the blocks together after it has found no blob, before it looks for blocks."""

        async def _commit(self, reference: BlobReference) -> None:
            await StagedBlobs(container, largest=LARGEST_UPLOAD).get("uploads/three", **said(payload))
            await super()._commit(reference)

    late = Uploads(Late(container, largest=LARGEST_UPLOAD))
    for number in (0, 1):
        await late.put_block("three", number, payload[number * MIB : (number + 1) * MIB])
    assert await asyncio.gather(*(late.get("three", **said(payload)) for _ in range(4))) == [payload] * 4


@pytest.mark.parametrize("missing", [0, 1])
async def test_a_gap_is_told_and_can_be_filled(uploads: Uploads, missing: int) -> None:
    """Nothing is put together before all of it is there."""
    blocks = [b"ab", b"cd"]
    await uploads.put_block("four", 1 - missing, blocks[1 - missing])
    with pytest.raises(ClaimChanged, match="1 blocks were uploaded, 2 bytes; 4 are named"):
        await uploads.get("four", **said(b"abcd"))
    await uploads.put_block("four", missing, blocks[missing])
    assert await uploads.get("four", **said(b"abcd")) == b"abcd"


async def test_other_bytes_and_none_are_refused(uploads: Uploads) -> None:
    """As a claim's would be."""
    with pytest.raises(ClaimMissing):
        await uploads.get("five", **said(b"abcd"))
    await uploads.put_block("five", 0, b"abcd")
    with pytest.raises(ClaimChanged):
        await uploads.get("five", **said(b"abce"))
    await uploads.delete("five")
    await uploads.delete("five")
    with pytest.raises(ClaimMissing):
        await uploads.get("five", **said(b"abcd"))


async def test_an_upload_that_no_message_named_is_swept_after_a_day(
    uploads: Uploads, container: ContainerClient
) -> None:
    """Claims beside it stay for their retention."""
    claims = ClaimStore(container)
    claim = await claims.put(uuid4(), b"claimed")
    await container.upload_blob("uploads/six", b"payload")
    now = datetime.now(UTC)

    async def in_use(names: object) -> list[str]:
        return []

    async def left(days: float) -> set[str]:
        sweeper = claims.sweeper(in_use=in_use, retention=timedelta(days=60), now=lambda: now + timedelta(days=days))
        await sweeper.sweep()
        return {blob.name async for blob in container.list_blobs()}

    assert await left(0.9) == {claim.name, "uploads/six"}
    assert await left(1.1) == {claim.name}
    assert await left(61) == set()
