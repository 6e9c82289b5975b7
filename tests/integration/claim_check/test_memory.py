"""A large payload passes through without being held: 100 MB cost 32 MB at most."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from local.azurite import AzuriteEndpoints

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")

ALLOWED = 32_000_000

MEASURE = """
import asyncio, json, os, sys
from uuid import uuid4
from azure.storage.blob.aio import ContainerClient
from shared.claim_check import ClaimStore
from tests.unit.shared.encryption.vault import World

SIZE = 100_000_000
PIECE = 1_000_000
kind, way = sys.argv[3:]
sealing = {"keys": World().data_keys(), "encrypt": True} if "sealed" in kind else {}
unit = os.urandom(PIECE) if "noise" in kind else (b'{"sku":"85123A","quantity":6,"unitPrice":2.55},' * 30_000)[:PIECE]

def kilobytes(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1])

async def stream(size):
    for _ in range(size // PIECE):
        yield bytes(unit)

async def main():
    async with ContainerClient.from_connection_string(sys.argv[1], sys.argv[2]) as container:
        claims = ClaimStore(container, **sealing)
        message_id = uuid4()
        claim = await claims.put(message_id, stream(PIECE))  # everything is loaded
        await claims.get(message_id, claim)
        payload = unit * (SIZE // PIECE) if way == "bytes" else b""
        open("/proc/self/clear_refs", "w").write("5")
        before = kilobytes("VmRSS")
        claim = await claims.put(message_id, payload or stream(SIZE))
        up = kilobytes("VmHWM") - before
        del payload
        open("/proc/self/clear_refs", "w").write("5")
        before = kilobytes("VmRSS")
        if way == "bytes":
            size = len(await claims.get(message_id, claim))
        else:
            size = 0
            async for piece in claims.open(message_id, claim):
                size += len(piece)
        assert size == SIZE
        down = kilobytes("VmHWM") - before - (SIZE // 1024 if way == "bytes" else 0)
        print(json.dumps({"up": up * 1024, "down": down * 1024}))

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["noise", "json", "sealed noise"])
@pytest.mark.parametrize("way", ["stream", "bytes"])
async def test_a_hundred_megabytes_pass_through_little_memory(
    azurite: AzuriteEndpoints, project: Path, kind: str, way: str
) -> None:
    """With bytes, the payload itself isn't counted: the caller holds it, or asked for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        azurite.connection_string,
        f"memory-{uuid4().hex}",
        kind,
        way,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    peak = json.loads(printed)
    print(kind, way, peak)  # noqa: T201 - shown with -s
    assert peak["up"] <= ALLOWED
    assert peak["down"] <= ALLOWED
