"""Connections are cut and processes killed on the way: what is visible afterwards is whole."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob.aio import ContainerClient

from local.azurite import AzuriteEndpoints, connection_string
from shared.claim_check import ClaimStore
from tests.integration.claim_check.conftest import Wire

NOISE = random.Random(3).randbytes(24 * 1024 * 1024)
MIB = 1024 * 1024

Behind = Callable[[Wire], ContainerClient]


def every(count: int, unit: int) -> Callable[[Wire], bool]:
    """Cut `count` times, each time that another `unit` bytes went through."""

    def cut(wire: Wire) -> bool:
        return wire.cuts < count and wire.sent + wire.received > (wire.cuts + 1) * unit

    return cut


@pytest.mark.parametrize("size", [5 * MIB, 24 * MIB], ids=["one request", "many blocks"])
async def test_cut_connections_hurt_no_payload(
    container: ContainerClient, wire: Wire, behind_wire: Behind, size: int
) -> None:
    message_id, payload = uuid4(), NOISE[:size]
    async with behind_wire(wire) as cut_off:
        claims = ClaimStore(cut_off)
        await container.create_container()
        wire.cut = every(3, size // 4)
        claim = await claims.put(message_id, payload)
        assert wire.cuts == 3
        wire.cuts = wire.sent = wire.received = 0
        wire.cut = every(2, size // 3)
        assert await claims.get(message_id, claim) == payload
        assert wire.cuts == 2
    assert await ClaimStore(container).get(message_id, claim) == payload


async def test_an_upload_whose_answer_is_lost_is_found_to_be_there(
    container: ContainerClient, wire: Wire, behind_wire: Behind
) -> None:
    """The storage has it, the answer doesn't come: the next try must not fail."""
    await container.create_container()
    wire.cut = lambda wire: wire.cuts < 1 and wire.sent > 1_000 and wire.received > 0
    async with behind_wire(wire) as cut_off:
        claim = await ClaimStore(cut_off).put(uuid4(), NOISE[:MIB])
    assert wire.cuts == 1
    assert [blob.name async for blob in container.list_blobs()] == [claim.name]


async def test_an_upload_that_fails_leaves_nothing_visible_and_the_next_one_succeeds(
    container: ContainerClient, wire: Wire, behind_wire: Behind
) -> None:
    await container.create_container()
    message_id = uuid4()
    wire.cut = lambda wire: wire.sent > 10 * MIB
    async with behind_wire(wire) as cut_off:
        with pytest.raises(AzureError):
            await ClaimStore(cut_off).put(message_id, NOISE)
    assert [blob.name async for blob in container.list_blobs()] == []
    claims = ClaimStore(container)
    assert await claims.get(message_id, await claims.put(message_id, NOISE)) == NOISE


@pytest.mark.parametrize("size", [1_000, 24 * MIB], ids=["one request", "many blocks"])
async def test_storage_that_stops_answering_is_given_up(
    container: ContainerClient, wire: Wire, behind_wire: Behind, size: int
) -> None:
    await container.create_container()
    claims, message_id = ClaimStore(container), uuid4()
    claim = await claims.put(message_id, NOISE[:size])
    wire.silent = True
    async with behind_wire(wire) as unheard:
        waiting = ClaimStore(unheard, timeout=0.2)
        with pytest.raises(TimeoutError):
            await waiting.put(uuid4(), NOISE[:size])
        with pytest.raises(TimeoutError):
            await waiting.get(message_id, claim)


UPLOAD = """
import asyncio, random, sys
from uuid import UUID
from azure.storage.blob.aio import ContainerClient
from shared.claim_check import ClaimStore

async def main():
    payload = random.Random(3).randbytes(24 * 1024 * 1024)
    async with ContainerClient.from_connection_string(sys.argv[1], sys.argv[2]) as container:
        await ClaimStore(container).put(UUID(sys.argv[3]), payload)

asyncio.run(main())
"""


async def test_a_process_killed_in_the_middle_of_an_upload_leaves_nothing_visible(
    container: ContainerClient, azurite: AzuriteEndpoints, wire: Wire, project: Path
) -> None:
    await container.create_container()
    message_id = uuid4()
    half_way = asyncio.Event()

    def watch(wire: Wire) -> bool:
        if wire.sent > 10 * MIB:
            half_way.set()
        return False

    wire.cut = watch
    through_wire = connection_string(AzuriteEndpoints(wire.port, azurite.queue, azurite.table))
    uploading = await start(UPLOAD, project, through_wire, container.container_name, message_id)
    await asyncio.wait_for(half_way.wait(), 60)
    uploading.kill()
    await uploading.wait()
    assert [blob.name async for blob in container.list_blobs()] == []
    claims = ClaimStore(container)
    claim = await claims.put(message_id, NOISE)
    assert await claims.get(message_id, claim) == NOISE


async def start(code: str, project: Path, connection: str, name: str, message_id: UUID) -> asyncio.subprocess.Process:
    environment = os.environ | {"PYTHONPATH": str(project)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, connection, name, str(message_id), cwd=project, env=environment
    )
