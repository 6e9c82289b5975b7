"""What `$apply` costs over DuckDB itself: log, plan, limits, rows as JSON, beside the same statement on the files."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.classification import Classification
from shared.datasets import (
    Datasets,
    DeltaTables,
    Engine,
    FileCache,
    FolderSource,
    Limits,
    Question,
    declared_level,
    parse_apply,
)
from shared.lake.tables import LakeStore

from .harness import Benchmark

ROWS, FILES = 2_000_000, 8
TURNS = 5
APPLY = "filter(total gt 5)/groupby((country),aggregate(total with sum as revenue,units with sum as units,$count as n))"
SQL = (
    "SELECT country, sum(total) AS revenue, sum(units) AS units, count(*) AS n FROM read_parquet($files)"
    " WHERE total > 5 GROUP BY country ORDER BY country"
)
LIMITS = Limits(bytes=1 << 32, rows=1_000_000, seconds=60)


def _written(folder: Path) -> None:
    """A table of some files, each with some days of its own."""
    import duckdb
    from arro3.core import RecordBatchReader
    from deltalake import write_deltalake

    size = ROWS // FILES
    for number in range(FILES):
        with duckdb.connect() as connection:
            rows = connection.sql(
                "SELECT i AS id, 'Country ' || (i * 7919 % 37) AS country, i % 50 AS units,"
                " CAST((i % 10000) / 100 AS DECIMAL(18,4)) AS total, 'note ' || md5(CAST(i AS VARCHAR)) AS note,"
                f" DATE '2026-01-01' + CAST({number * 10} + i % 10 AS INTEGER) AS day"
                f" FROM range({number * size}, {(number + 1) * size}) AS t(i)"
            )
            write_deltalake(str(folder / "gold" / "sales"), RecordBatchReader.from_arrow(rows), mode="append")


async def _no_options() -> dict[str, str]:
    return {}


async def _asked(datasets: Datasets) -> list[tuple[object, ...]]:
    """The whole way of a question, but HTTP."""
    snapshot = await datasets.open("gold", "sales", Classification.RESTRICTED)
    steps = parse_apply(APPLY, snapshot.columns)
    question = Question(snapshot=snapshot, level=Classification.RESTRICTED, steps=steps)
    async with datasets.reading(question, LIMITS) as reading:
        return [tuple(map(str, row.values())) for row in await reading.page(top=1_000, skip=0)]


def _bare(files: list[str]) -> list[tuple[object, ...]]:
    import duckdb

    with duckdb.connect(config={"threads": "2"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        found = connection.execute(SQL, {"files": files}).fetchall()
    return [tuple(map(str, row)) for row in found]


async def _rounds_of(rounds: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        await asyncio.to_thread(_written, lake)
        files = sorted(str(one) for one in lake.rglob("*.parquet"))
        source = FolderSource(lake)
        cache = FileCache(source, Path(folder) / "copies", capacity=1 << 30)
        tables = DeltaTables(LakeStore(str(lake), _no_options), lambda layer, name: declared_level, lambda *_: "")
        datasets = Datasets(tables, source, cache, Engine(memory=1 << 29), at_once=2)
        if await _asked(datasets) != _bare(files):
            raise RuntimeError("the two ways differ")
        found = []
        for _ in range(rounds):
            ours, bare = [], []
            for _ in range(TURNS):  # in turn, and the fastest of each: whatever is slower was disturbed
                started = time.process_time()
                await _asked(datasets)
                ours.append(time.process_time() - started)
                started = time.process_time()
                await asyncio.to_thread(_bare, files)
                bare.append(time.process_time() - started)
            found.append(min(ours) / min(bare))
        await datasets.close()
        return found


def _rounds(rounds: int) -> Iterator[float]:
    yield from asyncio.run(_rounds_of(rounds))


BENCHMARKS = [
    Benchmark(
        name="apply",
        claim=f"processor time of $apply over {ROWS:,} rows / DuckDB on the same files",
        goal=2.0,
        better="lower",
        rounds=_rounds,
    )
]
