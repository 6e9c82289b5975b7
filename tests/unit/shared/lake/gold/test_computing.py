"""SQL of a gold table: what it may return, and what it can't reach."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from arro3.core import Table

from shared.lake.gold import WrongGold
from shared.lake.gold.computing import Computing
from shared.messages import Source
from tests.unit.shared.lake.gold.lakes import CREDITS, ORDERS, SQL, arrow, sales

ROW = "date '2010-12-01' as day, 'France' as country, 1 as orders, 1 as units, 1.5 as revenue"
ONE = (0, "a", "2010-12-01T08:00:00Z", "France", 1, "1.5")


def computed(sql: str = SQL, *, days: Any = None, memory_mb: int = 64, **changes: Any) -> list[Any]:
    """The rows of a declaration over one order."""
    computing = Computing.begin(sales(sql, **changes), days, memory_mb=memory_mb)
    try:
        found = computing.rows(tables())
        return list(zip(*(found[name].to_pylist() for name in found.column_names), strict=True))
    finally:
        computing.close()


def tables() -> Mapping[str, Table]:
    return {ORDERS: arrow("order_id", "placed_at", [ONE]), CREDITS: arrow("credit_note_id", "credited_at", [])}


def test_types_are_those_of_the_row() -> None:
    assert computed() == [(date(2010, 12, 1), "France", 1, 1, Decimal("1.5"))]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select * from nowhere", "Table with name nowhere does not exist"),
        ("select placed_at from order_accepted", "placed_at"),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "isn't one SELECT"),
        ("", "isn't one SELECT"),
        ("create table x as select 1", "isn't one SELECT"),
        ("insert into order_accepted values (1)", "isn't one SELECT"),
        ("set memory_limit = '10GB'", "isn't one SELECT"),
        ("pragma database_list", "isn't one SELECT"),
        ("select day, country, orders from (select " + ROW + ")", "no column units"),
        (f"select {ROW}, 1 as more", "more, which isn't declared"),
        (f"select {ROW.replace('1.5 as', '1.5::double as')}", "revenue is DOUBLE"),
        (f"select {ROW.replace('1.5 as', '1.5::decimal(20,9) as')}", "revenue is DECIMAL"),
        (f"select {ROW.replace('1 as units', '1.5 as units')}", "units is DECIMAL"),
        (f"select {ROW.replace('1 as units', chr(39) + '1' + chr(39) + ' as units')}", "units is VARCHAR"),
        (f"select {ROW.replace(chr(39) + 'France' + chr(39), 'null::varchar')}", "1 rows have no country"),
        (f"select {ROW} union all select {ROW}", "1 keys have more than one row"),
        (f"select {ROW.replace('1 as units', '99999999999999999999 as units')}", "ConversionException"),
        (f"select {ROW} from order_accepted where country::integer = 1", "ConversionException"),
    ],
)
def test_what_does_not_fit_is_named(sql: str, what: str) -> None:
    with pytest.raises(WrongGold, match=r"gold\.daily_sales") as error:
        computed(sql)
    assert what in str(error.value)
    assert "France" not in str(error.value), "no data in an error"


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to '{file}'",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "attach '{file}'",
        "install httpfs",
        "load icu",
        "select * from glob('/*')",
        "export database '{file}'",
    ],
)
def test_files_and_extensions_are_out_of_reach(sql: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(WrongGold):
        computed(sql.format(file=file))
    assert not file.exists()


def test_memory_is_bounded_and_nothing_spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sql = (
        f"select {ROW} from (select list(i::varchar || repeat('x', 100)) as l from range(5000000) t(i)) where l[9] > ''"
    )
    with pytest.raises(WrongGold, match="OutOfMemory"):
        computed(sql, memory_mb=32)
    assert not list(tmp_path.iterdir())


def test_it_can_be_stopped() -> None:
    computing = Computing.begin(
        sales(f"select {ROW} from range(10000000) a, range(10000000) b limit 1 offset 9999999999999"), None
    )
    failed: list[BaseException] = []

    def compute() -> None:
        try:
            computing.rows(tables())
        except WrongGold as error:
            failed.append(error)

    thread = threading.Thread(target=compute)
    thread.start()
    while thread.is_alive():
        computing.stop()
        time.sleep(0.01)
    computing.close()
    assert failed


def test_days_that_were_not_asked_for_are_refused() -> None:
    with pytest.raises(WrongGold, match="days that its sources' rows don't have"):
        computed(f"select {ROW}", days=[date(2010, 12, 2)])
    assert computed(days=[date(2010, 12, 2)]) == []


def test_a_column_that_silver_does_not_have_is_named() -> None:
    with pytest.raises(WrongGold, match=r"silver\.order_accepted has no column colour"):
        computed(sources=(Source(ORDERS, ["colour"]), Source(CREDITS, ["country"])))


def test_a_time_as_text_has_a_day_too() -> None:
    import duckdb

    text = duckdb.connect().sql(
        "select 0::bigint as sequence, 0::bigint as log_sequence, 'a' as order_id, "
        "'2010-12-01T08:00:00Z' as placed_at, 'France' as country, 1::bigint as units, 2::decimal(18,6) as total"
    )
    computing = Computing.begin(sales(), None)
    found = computing.rows({**tables(), ORDERS: Table.from_arrow(text)})
    computing.close()
    assert found["day"].to_pylist() == [date(2010, 12, 1)]


def test_a_function_that_fails_or_returns_no_table_is_named() -> None:
    def fails(order_accepted: Table) -> Table:
        raise RuntimeError("France")

    def lies(order_accepted: Table) -> Any:
        return 1

    for call in (fails, lies):
        with pytest.raises(WrongGold, match=r"gold\.daily_sales: its function fails: \w+$"):
            computed(call=call)
