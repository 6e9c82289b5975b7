"""Writers that compete for a table on Azurite, and are killed: no row is lost, none is there twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import AzuriteEndpoints
from shared.lake.tables import Layer, Retention, WatermarkMoved, maintain
from tests.integration.lake.writer import PARTITIONS, committer_of, store_of
from tests.scale import SCALE
from tests.unit.shared.lake.tables.log import batch, stored

FULL = SCALE >= 10
WRITERS, COMMITS, KILLS = (16, 2_000, 10) if FULL else (3, 12, 1)
EVENTS = COMMITS * 9 // 4
"""Of each of two partitions: a commit has three of one or of both on average."""


@pytest.fixture
def container(azurite: AzuriteEndpoints) -> str:
    """A container that nobody else has."""
    name = f"lake{uuid4().hex}"
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(name)
    return name


@dataclass
class Writer:
    """A writer and what it said."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, project: Path, *arguments: str) -> Writer:
        command = [sys.executable, "-m", "tests.integration.lake.writer", *arguments]
        paths = f"{project}:{project}/local-azure/src"
        writer = cls(
            subprocess.Popen(
                command,
                cwd=project,
                env={"PYTHONPATH": paths, "PATH": "/usr/bin:/bin"},
                text=True,
                stdout=subprocess.PIPE,
            )
        )
        threading.Thread(target=writer._listen, daemon=True).start()
        return writer

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())


@pytest.mark.timeout(3_600 if FULL else 120)
async def test_no_row_is_lost_or_doubled_by_writers_that_compete_and_die(
    azurite: AzuriteEndpoints, container: str, project: Path
) -> None:
    dice = random.Random("writers")
    store = store_of(azurite.connection_string, container)
    await committer_of(store).table()
    numbers = iter(range(1_000_000))

    def start() -> Writer:
        return Writer.start(project, azurite.connection_string, container, str(EVENTS), str(next(numbers)))

    running = [start() for _ in range(WRITERS)]
    gone: list[Writer] = []
    try:
        for kill in range(KILLS):
            while _commits([*running, *gone]) < COMMITS * (kill + 1) // (KILLS + 1):
                assert any(one.process.poll() is None for one in running), "they were done before they were killed"
                await asyncio.sleep(0.02)
            victim = dice.choice(running)
            victim.process.kill()
            victim.process.wait()
            running.remove(victim)
            gone.append(victim)
            running.append(start())
        for writer in running:
            assert writer.process.wait(timeout=3_000) == 0
    finally:
        for writer in running:
            writer.process.kill()
    expected = sorted((partition, number) for partition in PARTITIONS for number in range(1, EVENTS + 1))
    assert await stored(store) == expected
    commits = _commits([*running, *gone])
    sys.stdout.write(f"{WRITERS} writers, {commits} commits, {KILLS} kills, {2 * EVENTS} rows: none lost or doubled\n")


def _commits(writers: Sequence[Writer]) -> int:
    return sum(one.said.count("committed") for one in writers)


async def test_a_zombie_and_maintenance_on_azurite(azurite: AzuriteEndpoints, container: str) -> None:
    store = store_of(azurite.connection_string, container)
    zombie, other = committer_of(store), committer_of(store)
    await zombie.append(*batch(PARTITIONS[0], None, 2))
    await other.append(*batch(PARTITIONS[0], 2, 1))
    done = await maintain(store, Layer.SILVER, "events", Retention())
    assert (done.added, done.removed, done.failed) == (1, 2, ())
    with pytest.raises(WatermarkMoved):
        await zombie.append(*batch(PARTITIONS[0], 2, 2))
    await zombie.append(*batch(PARTITIONS[0], 3, 1))
    assert await stored(store) == [(PARTITIONS[0], number) for number in range(1, 5)]
