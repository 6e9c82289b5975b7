"""A gold table follows its silver tables: as far as they changed, and however they were changed."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from shared.lake.gold import GoldTable, refreshing
from shared.lake.tables import CommitConflict, LakeError, LakeStore, LakeUnavailable, Layer
from tests.unit.shared.lake.gold.lakes import CREDITS, SQL, Folder, Silver, arrow, sales, schema_of

FIRST, SECOND = date(2010, 12, 1), date(2010, 12, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


def test_orders_are_counted_and_credit_notes_subtracted(lake: Folder) -> None:
    Silver(lake).append(
        (0, "a", "2010-12-01T08:26:00Z", "France", 6, "15.30"),
        (1, "b", "2010-12-01T23:59:59Z", "France", 4, "0.000001"),
        (2, "c", "2010-12-02T00:00:00Z", "Spain", 1, "2"),
    )
    Silver(lake, CREDITS).append((0, "C1", "2010-12-02T10:00:00Z", "Spain", -1, "-2"))
    done = lake.refresh()
    assert (done.rows, done.days) == (2, None)
    assert lake.rows() == [
        (FIRST, "France", 2, 10, Decimal("15.300001")),
        (SECOND, "Spain", 1, 0, Decimal(0)),
    ]


def test_only_days_that_changed_are_computed_again(lake: Folder) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 2, "2"), (2, "c", "2010-12-02T09:00:00Z", "Spain", 3, "3"))
    assert lake.refresh().days == 1
    assert [row[:4] for row in lake.rows()] == [
        (FIRST, "France", 1, 1),
        (SECOND, "France", 1, 2),
        (SECOND, "Spain", 1, 3),
    ]


def test_nothing_new_is_no_commit(lake: Folder) -> None:
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    first = lake.refresh()
    again = lake.refresh()
    assert (again.version, again.rows) == (first.version, 0)


def test_an_order_that_is_changed_counts_once_and_on_its_new_day(lake: Folder) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"), (1, "b", "2010-12-01T08:00:00Z", "Spain", 1, "5"))
    lake.refresh()
    silver.append((7, "a", "2010-12-02T08:00:00Z", "Spain", 9, "9"))
    assert lake.refresh().days == 2
    assert [row[:4] for row in lake.rows()] == [(FIRST, "Spain", 1, 1), (SECOND, "Spain", 1, 9)]


def test_a_day_whose_last_order_moved_away_has_no_rows(lake: Folder) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "a", "2010-12-02T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    assert [row[0] for row in lake.rows()] == [SECOND]


def test_credit_notes_that_come_first_later_are_taken_in(lake: Folder) -> None:
    assert lake.refresh().version is None, "no silver table is there"
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 3, "9"))
    lake.refresh()
    Silver(lake, CREDITS).append((0, "C1", "2010-12-01T09:00:00Z", "France", -1, "-3"))
    lake.refresh()
    assert lake.rows() == [(FIRST, "France", 1, 2, Decimal(6))]


def _compact(table: DeltaTable) -> None:
    table.optimize.compact()


def _vacuum(table: DeltaTable) -> None:
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


@pytest.mark.parametrize("maintain", [_compact, _vacuum, DeltaTable.create_checkpoint])
def test_maintenance_of_silver_computes_nothing_and_hides_nothing(lake: Folder, maintain: Any) -> None:
    silver = Silver(lake)
    for number in range(3):
        silver.append((number, f"o{number}", "2010-12-01T08:00:00Z", "France", 1, "1"))
    version = lake.refresh().version
    maintain(lake.table("silver/order_accepted"))
    assert lake.refresh().version == version
    silver.append((3, "o3", "2010-12-02T08:00:00Z", "France", 1, "1"))
    maintain(lake.table("silver/order_accepted"))
    assert lake.refresh().days == 1
    assert [row[2] for row in lake.rows()] == [3, 1]


def _deleted(lake: Folder) -> None:
    lake.table("silver/order_accepted").delete("order_id = 'b'")


def _restored(lake: Folder) -> None:
    lake.table("silver/order_accepted").restore(0)


def _made_anew(lake: Folder) -> None:
    import shutil

    shutil.rmtree(lake.uri("silver/order_accepted"))
    for number in range(2):
        Silver(lake).append((number, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))


def _overwritten(lake: Folder) -> None:
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"), mode="overwrite")


@pytest.mark.parametrize("change", [_deleted, _restored, _made_anew, _overwritten])
def test_a_silver_table_that_lost_rows_is_computed_as_it_is(lake: Folder, change: Any) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    change(lake)
    assert lake.refresh().days is None
    assert lake.rows() == [(FIRST, "France", 1, 1, Decimal(1))]


def test_a_log_that_has_expired_is_no_gap(lake: Folder) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    lake.table("silver/order_accepted").create_checkpoint()
    Path(lake.uri("silver/order_accepted/_delta_log/00000000000000000001.json")).unlink()
    assert lake.refresh().days is None
    assert len(lake.rows()) == 2


@pytest.mark.parametrize("spoil", ["delete", "restore", "append"])
def test_a_gold_table_that_others_have_altered_is_put_right(lake: Folder, spoil: str) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    right, table = lake.rows(), lake.table("gold/daily_sales")
    if spoil == "delete":
        table.delete()
    elif spoil == "restore":
        table.restore(0)
    else:
        from deltalake import QueryBuilder, write_deltalake

        write_deltalake(table, QueryBuilder().register("t", table).execute("select * from t"), mode="append")
    assert lake.rows() != right
    assert lake.refresh().days is None
    assert lake.rows() == right


def test_maintenance_of_gold_isnt_an_alteration(lake: Folder) -> None:
    silver = Silver(lake)
    for number in range(3):
        silver.append((number, f"o{number}", f"2010-12-0{number + 1}T08:00:00Z", "France", 1, "1"))
        lake.refresh()
    _vacuum(lake.table("gold/daily_sales"))
    silver.append((3, "o3", "2010-12-03T08:00:00Z", "France", 1, "1"))
    assert lake.refresh().days == 1
    assert [row[2] for row in lake.rows()] == [1, 1, 2]


def test_another_declaration_computes_everything(lake: Folder) -> None:
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    doubled = sales(SQL.replace("sum(units)", "2 * sum(units)"))
    assert lake.refresh(doubled).days is None
    assert lake.rows()[0][3] == 2


def test_a_rebuild_is_the_same_table(lake: Folder) -> None:
    silver = Silver(lake)
    for number in range(5):
        silver.append((number, f"o{number % 3}", f"2010-12-0{number % 4 + 1}T08:00:00Z", "France", number, "1.5"))
        lake.refresh()
    kept = lake.rows()
    assert lake.refresh(whole=True).days is None
    assert lake.rows() == kept


def test_a_refresh_that_dies_at_its_commit_is_done_again(lake: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    real = refreshing._write

    def written_and_dead(*given: Any) -> int:
        real(*given)
        raise RuntimeError("the process is killed here")

    def dead(*given: Any) -> int:
        raise RuntimeError("the process is killed here")

    for dies in (dead, written_and_dead):
        monkeypatch.setattr(refreshing, "_write", dies)
        with pytest.raises(LakeError):
            lake.refresh()
    monkeypatch.setattr(refreshing, "_write", real)
    assert lake.refresh().rows == 0, "the commit that was made counts"
    assert [row[2] for row in lake.rows()] == [1, 1]


def test_the_slower_of_two_at_once_gives_way(lake: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    silver = Silver(lake)
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    real = refreshing._write

    def overtaken(*given: Any) -> int:
        monkeypatch.setattr(refreshing, "_write", real)
        silver.append((2, "c", "2010-12-03T08:00:00Z", "France", 1, "1"))
        lake.refresh()
        return real(*given)

    monkeypatch.setattr(refreshing, "_write", overtaken)
    with pytest.raises(CommitConflict, match=r"gold\.daily_sales"):
        lake.refresh()
    assert [row[2] for row in lake.rows()] == [1, 1, 1]


def test_a_refresh_that_takes_too_long_is_stopped(lake: Folder) -> None:
    from shared.lake.gold.computing import Computing

    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    large = "(select 1 from range(10000000) a, range(10000000) b limit 1 offset 9999999999999)"
    endless = sales(f"select * from ({SQL}) where exists {large}")

    async def options() -> dict[str, str]:
        return {}

    async def try_it() -> None:
        store = LakeStore(lake.root, options, seconds=1)
        with pytest.raises(LakeUnavailable, match="no answer"):
            await GoldTable(endless, store, schema_of=schema_of).refresh()
        await store.run(Layer.GOLD, "daily_sales", Computing.begin, endless, None)  # a thread is free

    asyncio.run(try_it())  # returns when the threads have ended


def test_a_function_of_arrow_tables_gives_the_same(lake: Folder) -> None:
    import duckdb
    from arro3.core import Table

    def by_function(order_accepted: Table, order_credit_accepted: Table) -> Table:
        con = duckdb.connect()
        con.register("order_accepted", order_accepted)
        con.register("order_credit_accepted", order_credit_accepted)
        return Table.from_arrow(con.sql(SQL))

    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1.25"))
    lake.refresh()
    right = lake.rows()
    assert lake.refresh(sales(call=by_function)).rows == 1
    assert lake.rows() == right


def test_an_empty_silver_table_makes_an_empty_gold_table(lake: Folder) -> None:
    from deltalake import write_deltalake

    write_deltalake(lake.uri("silver/order_accepted"), arrow("order_id", "placed_at", ()))
    assert lake.refresh().rows == 0
    assert lake.rows() == []
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.refresh()
    assert len(lake.rows()) == 1
