"""The engine opens the files of a question and nothing else, whatever SQL it is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.datasets import Engine
from shared.datasets.engine import Run
from shared.datasets.statements import Statement


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A connection that may open one file of two."""
    import duckdb

    for name in ("mine", "other"):
        duckdb.execute(f"COPY (SELECT 1 AS x) TO '{tmp_path}/{name}.parquet'")
    found = Engine(memory=1 << 26).open([tmp_path / "mine.parquet"])
    yield found
    found.close()


def test_it_reads_its_file(run: Run, tmp_path: Path) -> None:
    """And its types."""
    path = tmp_path / "mine.parquet"
    assert run.number(Statement("SELECT x FROM read_parquet($f)", {"f": [str(path)]})) == 1
    assert run.types([path]) == {"x": "INTEGER"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM read_parquet('{folder}/other.parquet')",
        "SELECT count(*) FROM read_parquet('{folder}/*.parquet')",
        "SELECT count(*) FROM read_parquet('{folder}/mine.parquet/../other.parquet')",
        "SELECT count(*) FROM read_csv('/etc/passwd')",
        "SELECT count(*) FROM read_text('/etc/passwd')",
        "SELECT count(*) FROM read_blob('/proc/self/environ')",
        "SELECT count(*) FROM glob('/etc/*')",
        "SELECT count(*) FROM '/etc/passwd'",
        "SELECT count(*) FROM secret",
        "COPY (SELECT 1) TO '{folder}/new.csv'",
        "COPY (SELECT 1) TO '{folder}/mine.parquet'",
        "EXPORT DATABASE '{folder}/all'",
        "ATTACH '{folder}/new.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{folder}/mine.parquet'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET lock_configuration = false",
        "RESET enable_external_access",
        "PRAGMA enable_logging",
        "CREATE SECRET s (TYPE s3)",
        "SELECT count(*) FROM read_csv('http://127.0.0.1:1/x')",
    ],
)
def test_it_opens_nothing_else(run: Run, tmp_path: Path, sql: str) -> None:
    """Nor writes, nor loads, nor lets itself be opened again."""
    secret = ["a variable"]
    with pytest.raises(Exception) as refused:  # noqa: PT011  # whichever of the engine's
        run.number(Statement(sql.format(folder=tmp_path), {}))
    assert refused.type is not AssertionError
    assert secret == ["a variable"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine.parquet", "other.parquet"]
