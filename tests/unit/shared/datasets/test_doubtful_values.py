"""What the log says inexactly hides no row, and what is sensitive in any version of a table is masked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from arro3.core import Array, DataType, Field, Schema, Table
from deltalake import DeltaTable, write_deltalake

from shared.classification import Classification
from shared.datasets import CSV, CannotCompute, Column, Datasets, Limits, TooMuch, Unreadable, declared_level
from shared.datasets.columns import column_of
from shared.datasets.encoding import ENCODERS
from shared.datasets.engine import Engine, Rows
from shared.datasets.statements import Statement
from shared.query import ForbiddenField, Kind

from .lakes import LIMITS, ask, question, written

RESTRICTED = {"sluice.classification": "restricted"}
LIMIT = Classification.CONFIDENTIAL


@pytest.mark.parametrize(
    ("kind", "value", "filter"),
    [
        ("DOUBLE", "0.1", "x eq 0.1"),
        ("DOUBLE", "0.1", "x le 0.1"),
        ("DOUBLE", "0.1", "x in (0.1)"),
        ("DECIMAL(18,2)", "1234567890123456.78", "x eq 1234567890123456.78"),
        ("DECIMAL(18,2)", "1234567890123456.78", "x le 1234567890123456.78"),
        ("DOUBLE", "'NaN'", "x eq null"),
        ("DOUBLE", "'infinity'", "x eq null"),
        ("DOUBLE", "'infinity'", "not (x ne null)"),
    ],
)
@pytest.mark.parametrize("partitioned", [False, True])
async def test_a_row_is_found_by_its_value(
    datasets: Datasets, tmp_path: Path, kind: str, value: str, filter: str, partitioned: bool
) -> None:
    """Whatever the log has of it."""
    sql = f"SELECT CAST({value} AS {kind}) AS x, 1 AS n"
    written(tmp_path, "sales", sql, partition_by=["x"] if partitioned else None)
    assert await ask(datasets, "sales", filter=filter, select="n") == [{"n": 1}]


async def test_a_bound_that_the_log_rounded_is_none(datasets: Datasets, tmp_path: Path) -> None:
    """The catalogue doesn't show it either; one that is exact is used."""
    written(tmp_path, "sales", "SELECT 1234567890123456.78::DECIMAL(18,2) AS large, 1.25::DECIMAL(18,2) AS small")
    (file,) = (await datasets.open("gold", "sales", Classification.RESTRICTED)).files
    assert "large" not in file.low
    assert str(file.low["small"]) == str(file.high["small"]) == "1.25"
    assert await ask(datasets, "sales", filter="small eq 1.26") == []


@pytest.mark.parametrize(
    "within",
    [
        {"type": "struct", "fields": [{"name": "mail", "type": "string", "metadata": RESTRICTED}]},
        {
            "type": "array",
            "elementType": {"type": "struct", "fields": [{"name": "mail", "type": "string", "metadata": RESTRICTED}]},
        },
        {
            "type": "map",
            "keyType": "string",
            "valueType": {"type": "struct", "fields": [{"name": "mail", "type": "string", "metadata": RESTRICTED}]},
        },
    ],
)
def test_a_column_is_as_sensitive_as_what_is_within_it(within: Any) -> None:
    """It is shown whole or not at all."""
    column = column_of({"name": "customer", "type": within, "metadata": {}}, declared_level, partition=False)
    assert column is not None
    assert column.level == Classification.RESTRICTED


def rows(mail: str, metadata: dict[str, str] | None, number: int = 1) -> Table:
    """A row with a column that may be sensitive."""
    schema = Schema([Field("mail", DataType.utf8(), metadata=metadata or {}), Field("n", DataType.int64())])
    return Table.from_arrays([Array([mail], DataType.utf8()), Array([number], DataType.int64())], schema=schema)


async def test_an_older_version_unmasks_nothing(datasets: Datasets, tmp_path: Path) -> None:
    """Neither what was declared sensitive since, nor what was so when its files were written."""
    path = str(tmp_path / "lake" / "gold" / "sales")
    for version, metadata in enumerate((None, RESTRICTED, None)):
        write_deltalake(path, rows(f"v{version}", metadata), mode="overwrite", schema_mode="overwrite")
    shown = [await ask(datasets, "sales", level=LIMIT, as_of=version, select="mail") for version in (0, 1, 2)]
    assert shown == [[{"mail": "v0"}], [{"mail": None}], [{"mail": "v2"}]]
    changed = await ask(datasets, "sales", level=LIMIT, since=1)
    assert [one["mail"] for one in changed] == [None, None]
    with pytest.raises(ForbiddenField):
        await ask(datasets, "sales", level=LIMIT, since=1, filter="mail eq 'v1'")
    write_deltalake(path, rows("v3", RESTRICTED), mode="overwrite", schema_mode="overwrite")
    shown = [await ask(datasets, "sales", level=LIMIT, as_of=version, select="mail") for version in (0, 1, 2, 3)]
    assert shown == [[{"mail": None}]] * 4


async def test_the_order_of_changes_tells_nothing_of_what_is_masked(datasets: Datasets, tmp_path: Path) -> None:
    """It is by the columns that are seen alone."""
    path = str(tmp_path / "lake" / "gold" / "sales")
    write_deltalake(path, rows("first", RESTRICTED, 0))
    for number, mail in ((1, "c"), (2, "b"), (3, "a")):
        write_deltalake(path, rows(mail, RESTRICTED, number), mode="append")
    asked = question(await datasets.open("gold", "sales", LIMIT, since=0), level=LIMIT, since=0)
    async with datasets.reading(asked, LIMITS) as reading:
        assert [one["n"] for one in await reading.page(top=9, skip=0)] == [1, 2, 3]


@pytest.mark.parametrize("sized", [True, False])
async def test_all_that_changes_read_counts(datasets: Datasets, tmp_path: Path, sized: bool) -> None:
    """What came and what went together, though the log needn't tell how large what went is."""
    many = "SELECT i AS id, md5(CAST(i AS VARCHAR)) AS text FROM range({}, {}) AS t(i)"
    written(tmp_path, "sales", many.format(0, 20_000))
    path = tmp_path / "lake" / "gold" / "sales"
    import duckdb

    with duckdb.connect() as connection:
        other = Table.from_arrow(connection.sql(many.format(20_000, 40_000)))
        write_deltalake(str(path), other, mode="overwrite")
    if not sized:
        log = path / "_delta_log" / f"{1:020d}.json"
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for one in actions:
            one.get("remove", {}).pop("size", None)
        log.write_text("\n".join(map(json.dumps, actions)))
    sizes = [one.stat().st_size for one in path.glob("*.parquet")]
    limits = Limits(bytes=max(sizes) + 1_000, rows=10, seconds=30)
    with pytest.raises(TooMuch, match=f"2 files of {sum(sizes)} bytes"):
        await ask(datasets, "sales", limits=limits, since=0, apply="aggregate($count as n)")


async def test_a_log_that_is_too_long_is_refused(
    datasets: Datasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in memory whole."""
    for _ in range(3):
        written(tmp_path, "sales", "SELECT 1 AS x")
    monkeypatch.setattr("shared.datasets.reading._LOG_BYTES", 1_000)
    with pytest.raises(TooMuch, match="more than 1000 bytes"):
        await ask(datasets, "sales", since=0)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "BLOB"])
async def test_a_partition_of_a_type_that_isn_t_read_is_named(datasets: Datasets, tmp_path: Path, kind: str) -> None:
    """It isn't the caller's question that is wrong."""
    value = "TIMESTAMP '2026-01-01 00:00:00'" if kind == "TIMESTAMP" else "'a'::BLOB"
    written(tmp_path, "sales", f"SELECT {value} AS part, 1 AS n", partition_by=["part"])
    assert DeltaTable(str(tmp_path / "lake" / "gold" / "sales")).metadata().partition_columns == ["part"]
    with pytest.raises(Unreadable, match="partitioned by part"):
        await ask(datasets, "sales")


def test_whatever_the_engine_says_is_told_in_our_words() -> None:
    """Its own have paths and SQL in them."""
    run = Engine(memory=1 << 26).open([])
    try:
        with pytest.raises(Unreadable) as failed:
            run.number(Statement("SELECT secret FROM nowhere", {}))
        assert "nowhere" not in str(failed.value)
        with pytest.raises(CannotCompute):
            run.number(Statement("SELECT CAST('x' AS INTEGER)", {}))
    finally:
        run.close()


def test_no_line_of_csv_is_empty() -> None:
    """Common readers would skip it, and have fewer rows."""
    schema = Schema([Field("x", DataType.utf8())])
    table = Table.from_arrays([Array(["a", None, ""], DataType.utf8())], schema=schema)
    made = b"".join(ENCODERS[CSV](Rows(schema, iter(table.to_batches())), {"x": Column(name="x", kind=Kind.TEXT)}))
    assert made == b'x\r\na\r\n""\r\n""\r\n'
