"""Our reader in a process of its own: `python -m bench.worker_capture FOLDER CHANGES` until it has read so many.

The position is kept in memory, and changes are written as JSON to nowhere, as the other side's are.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shared.postgresql import Capturing, ChangeRecord, ServerAddress, opened
from shared.resilience import Snapshot


class _Row:
    """The position, in memory."""

    def __init__(self) -> None:
        self._values: Mapping[str, Any] = {}
        self._version = 0

    async def read(self) -> Snapshot:
        """See `SharedRow`."""
        return Snapshot(self._values, str(self._version) if self._version else None)

    async def write(self, values: Mapping[str, Any], expected: Snapshot) -> Snapshot | None:
        """See `SharedRow`."""
        self._values, self._version = values, self._version + 1
        return Snapshot(values, str(self._version))


async def main(folder: str, wanted: int) -> None:
    """Say `ready` after the first run; then how many changes came and when: of the first, and of all.

    A line on standard input begins the second and the third run.
    """
    counted = 0
    target = 1

    async def send(records: Sequence[ChangeRecord]) -> None:
        nonlocal counted
        for record in records:
            json.dumps(record.key)
            json.dumps(record.value)
        counted += len(records)

    def left() -> float:
        return 600.0 if counted < target else 0.0

    address = ServerAddress.of(f"postgresql://postgres@/postgres?host={folder}")
    tables = ["public.changed"]
    row = _Row()
    capturing = partial(
        Capturing,
        "crm",
        tables,
        "postgres",
        partial(opened, address, partial(asyncio.sleep, 0)),
        row,
        send,
        slot="ours",
        publication="ours",
    )
    await capturing(lambda: 600.0, follow=False).run()
    print("ready", flush=True)
    for target in (1, wanted):  # noqa: B007  `left` reads it
        await asyncio.to_thread(sys.stdin.readline)
        await capturing(left).run()
        print(counted, time.time(), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # measured while it is there


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
