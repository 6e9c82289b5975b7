"""Changes captured from PostgreSQL by our reader, beside the Debezium Engine on the same log.

Both make JSON of each change and write it to nowhere. What counts is what each process took in all, its start included.
`SLUICE_BENCH_CHANGES` sets how many changes there are; it needs PostgreSQL's server, Java and Maven.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.postgresql.debezium_engine import class_path, properties
from tests.integration.postgresql.server import Server, over_tcp, running

from .harness import Figure, Joint

CHANGES = int(os.environ.get("SLUICE_BENCH_CHANGES", "100000"))
HEAP = "512m"
_SECONDS = 600.0
_TABLE = "create table changed (id int primary key, name text, amount numeric(12,2), at timestamptz, note text)"
_NEW = "(n, 'customer ' || n, n / 7.0, now(), repeat('x', 60))"


class _Process:
    """One side: told to begin by a line, and measured to its end."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_SECONDS):
            return await asyncio.to_thread(self._process.stdout.readline)

    def begin(self) -> None:
        """Let it read."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> tuple[float, float]:
        """Seconds of CPU and MiB of memory that it took."""
        assert self._process.stdin is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()  # the usage has what it was forked from, too
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        self._process.stdin.close()
        _, _, usage = os.wait4(self._process.pid, 0)
        return usage.ru_utime + usage.ru_stime, peak / 1024


async def _measured(server: Server, folder: Path, paths: tuple[str, str]) -> tuple[float, float, float]:
    connection = await server.connect()
    await connection.execute(_TABLE)
    ours = _Process([sys.executable, "-m", "bench.worker_capture", str(server.folder), str(CHANGES + 1)], folder)
    await ours.line()  # its slot is there
    async with over_tcp(server) as port:
        options = {"table.include.list": "public.changed", "snapshot.mode": "no_data"}
        file = properties(folder, port, options)
        java, path = paths

        def engine() -> _Process:
            command = [java, f"-Xmx{HEAP}", "-cp", path, "Capture", str(file), "-", "1", str(CHANGES)]
            return _Process(command, folder)

        first = engine()
        await _until(connection, "select active from pg_replication_slots where slot_name = 'debezium'")
        ours.begin()
        await _until(connection, "select true")
        begun = time.time()
        await connection.execute("insert into changed values (0, 'first', 0, now(), '')")
        theirs_first = float((await first.line()).split()[1]) - begun
        ours_first = float((await ours.line()).split()[1]) - begun
        first.end()
        await _until(connection, "select not active from pg_replication_slots where slot_name = 'debezium'")
        third = CHANGES // 3
        for statement in (
            f"insert into changed select {_NEW[1:-1]} from generate_series(1, {third}) n",
            f"update changed set amount = amount + 1 where id between 1 and {third}",
            f"insert into changed select {_NEW[1:-1]} from generate_series({third + 1}, {CHANGES - third}) n",
        ):
            await connection.execute(statement)
        ours.begin()
        print("ours", await ours.line(), file=sys.stderr)
        own_cpu, own_memory = ours.end()
        second = engine()
        print("debezium", await second.line(), await second.line(), file=sys.stderr)
        cpu, memory = second.end()
    await connection.close()
    print(
        f"{CHANGES} changes: ours {own_cpu:.1f} s, {own_memory:.0f} MiB, first after {ours_first * 1000:.0f} ms; "
        f"Debezium {cpu:.1f} s, {memory:.0f} MiB, first after {theirs_first * 1000:.0f} ms",
        file=sys.stderr,
    )
    return own_cpu / cpu, own_memory / memory, ours_first / theirs_first


async def _until(connection: Any, query: str) -> None:
    async with asyncio.timeout(_SECONDS):
        while not await connection.fetchval(query):  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.1)


def _rounds(_: int) -> Iterator[tuple[float, ...]]:
    """One round: it takes minutes."""
    paths = class_path(Path(tempfile.gettempdir()))
    with running() as server, tempfile.TemporaryDirectory() as folder:

        async def whole() -> tuple[float, float, float]:
            await server.start()
            return await _measured(server, Path(folder), paths)

        yield asyncio.run(whole())


BENCHMARKS = [
    Joint(
        name="capture",
        figures=(
            Figure("capture: CPU", "CPU of our reader / the Debezium Engine's, starts included", 1.0, "lower"),
            Figure("capture: memory", f"peak memory of our reader / the engine's with a heap of {HEAP}", 0.3, "lower"),
            Figure(
                "capture: first change", "time to the first change of an idle table, ours / the engine's", 1.0, "lower"
            ),
        ),
        rounds=_rounds,
    )
]
