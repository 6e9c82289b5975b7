"""An operator's SQL over the lake reads and nothing else; a table becomes a file whole or not at all."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import AsyncIterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from arro3.core import Table
from deltalake import write_deltalake

from ops.lake.exporting import FORMATS, export
from ops.lake.querying import WrongQuery, queried, rows_of
from ops.lake.rendering import answer_json, answer_table
from shared.lake.tables import LakeStore, Layer, TableMissing

REVENUE = Decimal("12345678901234567890.123456")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LakeStore]:
    con = duckdb.connect()
    sales = con.sql(
        f"select date '2010-12-01' as day, 'l''été, \"1\"' as country, {REVENUE}::decimal(38, 6) as revenue"
    )
    write_deltalake(f"{tmp_path}/lake/gold/daily_sales", Table.from_arrow(sales))
    write_deltalake(f"{tmp_path}/lake/silver/order_accepted", Table.from_arrow(con.sql("select 1 as units")))

    async def options() -> dict[str, str]:
        return {}

    found = LakeStore(f"{tmp_path}/lake", options)
    yield found
    found.close()


async def ask(store: LakeStore, sql: str) -> tuple[Sequence[str], Sequence[tuple[Any, ...]]]:
    async with queried(store, sql) as con:
        return rows_of(con)


@pytest.mark.parametrize(
    "sql",
    [
        "select day, revenue from gold.daily_sales",
        "FROM GOLD.DAILY_SALES SELECT day, revenue",
        "with s as (select * from gold.daily_sales) select day, revenue from s -- the end",
        'select day, revenue from "gold"."daily_sales" where exists (from silver.order_accepted where units = 1);',
    ],
)
async def test_tables_are_read_by_layer_and_name(store: LakeStore, sql: str) -> None:
    names, rows = await ask(store, sql)
    assert (names, rows) == (["day", "revenue"], [(date(2010, 12, 1), REVENUE)])
    assert answer_json(names, rows)["rows"] == [{"day": "2010-12-01", "revenue": str(REVENUE)}]
    assert str(REVENUE) in answer_table(names, rows)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "selec 1",
        "select 1; select 2",
        "select nothing from gold.daily_sales",
        "select * from bronze.events",
        "select * from nowhere",
        "delete from gold.daily_sales",
        "create table gold.x as select 1",
        "copy (select 1) to '{file}'",
        "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "attach '{file}'",
        "set memory_limit = '100GB'",
    ],
)
async def test_other_statements_and_files_are_refused(store: LakeStore, sql: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(WrongQuery):
        await ask(store, sql.format(file=file))
    assert not file.exists()


async def test_a_table_that_is_not_there_is_named(store: LakeStore) -> None:
    with pytest.raises(TableMissing, match=r"silver\.nothing"):
        await ask(store, "select * from silver.nothing")


@pytest.mark.parametrize("form", sorted(FORMATS))
async def test_a_table_becomes_a_file_of_each_format(store: LakeStore, form: str, tmp_path: Path) -> None:
    file = tmp_path / f"it's.{form}"
    assert await export(store, Layer.GOLD, "daily_sales", form, file) == 1
    country = 'l\'été, "1"'
    if form == "csv":
        with file.open(encoding="utf-8", newline="") as source:
            assert list(csv.reader(source))[1] == ["2010-12-01", country, str(REVENUE)]
    elif form == "ndjson":
        (row,) = (json.loads(line, parse_float=Decimal) for line in file.read_text(encoding="utf-8").splitlines())
        assert row == {"day": "2010-12-01", "country": country, "revenue": REVENUE}
    else:
        found = duckdb.connect().execute("select * from read_parquet(?)", [str(file)]).fetchall()
        assert found == [(date(2010, 12, 1), country, REVENUE)]


async def test_a_failed_export_leaves_no_file(store: LakeStore, tmp_path: Path) -> None:
    with pytest.raises(TableMissing):
        await export(store, Layer.GOLD, "nothing", "csv", tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError):
        await export(store, Layer.GOLD, "daily_sales", "csv", tmp_path / "nowhere" / "x.csv")
    assert os.listdir(tmp_path) == ["lake"]
