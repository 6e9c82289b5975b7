"""A process that commits numbered events to a table until it has enough of them, beside others that do the same."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from datetime import timedelta

from shared.azure_clients import Credentials
from shared.environment import Connection
from shared.lake.tables import (
    Advance,
    CommitConflict,
    Committer,
    LakeStore,
    LakeUnavailable,
    Layer,
    Retention,
    VersionMissing,
    WatermarkMoved,
    storage_options,
)
from tests.unit.shared.lake.tables.log import SCHEMA, rows_of

PARTITIONS = ("events/0", "events/1")
SHORT = Retention(log=timedelta(seconds=1)).configuration | {"delta.checkpointInterval": "20"}
"""The emulator lists every file of the log with each commit."""


def store_of(connection_string: str, container: str) -> LakeStore:
    """The store of a container in Azurite."""
    return LakeStore(
        f"az://{container}", storage_options(Connection(connection_string=connection_string), Credentials())
    )


def committer_of(store: LakeStore) -> Committer:
    """A committer of the table that all of them write."""
    return Committer(store, Layer.SILVER, "events", SCHEMA, configuration=SHORT)


async def write(store: LakeStore, target: int, dice: random.Random) -> int:
    """Commit until each partition has its events up to a number; returns how many commits were ours."""
    committer, commits = committer_of(store), 0
    while True:
        with suppress(WatermarkMoved, CommitConflict, LakeUnavailable, VersionMissing):
            marks = await committer.watermarks(PARTITIONS)
            left = [one for one in PARTITIONS if (marks[one] or 0) < target]
            if not left:
                return commits
            events: list[tuple[str, int]] = []
            advances = []
            for partition in dice.sample(left, dice.randint(1, len(left))):
                after = marks[partition]
                upto = min(target, (after or 0) + dice.randint(1, 5))
                events += [(partition, number) for number in range((after or 0) + 1, upto + 1)]
                advances.append(Advance(partition, after, upto))
            await asyncio.sleep(dice.random() * 0.05)  # others come in between
            await committer.append(rows_of(events), advances)
            commits += 1
            sys.stdout.write("committed\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _, connection, container, target, seed = sys.argv
    asyncio.run(write(store_of(connection, container), int(target), random.Random(seed)))
