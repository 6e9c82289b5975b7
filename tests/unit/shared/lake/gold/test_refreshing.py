"""A gold table follows its silver tables: as far as they changed, and however they were changed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from shared.lake.gold import GoldConflict
from tests.unit.shared.lake.gold.lakes import CREDITS, SQL, Folder, Silver, arrow, sales

FIRST, SECOND = date(2010, 12, 1), date(2010, 12, 2)


@pytest.fixture
def lake(tmp_path: Path) -> Folder:
    return Folder.at(tmp_path)


def test_orders_are_counted_and_credit_notes_subtracted(lake: Folder) -> None:
    Silver(lake).append(
        (0, "a", "2010-12-01T08:26:00Z", "France", 6, "15.30"),
        (1, "b", "2010-12-01T23:59:59Z", "France", 4, "0.000001"),
        (2, "c", "2010-12-02T00:00:00Z", "Spain", 1, "2"),
    )
    Silver(lake, CREDITS).append((0, "C1", "2010-12-02T10:00:00Z", "Spain", -1, "-2"))
    done = lake.gold().refresh()
    assert (done.rows, done.days) == (2, None)
    assert lake.rows() == [
        (FIRST, "France", 2, 10, Decimal("15.300001")),
        (SECOND, "Spain", 1, 0, Decimal(0)),
    ]


def test_only_days_that_changed_are_computed_again(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 2, "2"), (2, "c", "2010-12-02T09:00:00Z", "Spain", 3, "3"))
    assert gold.refresh().days == 1
    assert [row[:4] for row in lake.rows()] == [
        (FIRST, "France", 1, 1),
        (SECOND, "France", 1, 2),
        (SECOND, "Spain", 1, 3),
    ]


def test_nothing_new_is_no_commit(lake: Folder) -> None:
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    first = lake.gold().refresh()
    again = lake.gold().refresh()
    assert (again.version, again.rows) == (first.version, 0)


def test_an_order_that_is_changed_counts_once_and_on_its_new_day(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"), (1, "b", "2010-12-01T08:00:00Z", "Spain", 1, "5"))
    gold.refresh()
    silver.append((7, "a", "2010-12-02T08:00:00Z", "Spain", 9, "9"))
    assert gold.refresh().days == 2
    assert [row[:4] for row in lake.rows()] == [(FIRST, "Spain", 1, 1), (SECOND, "Spain", 1, 9)]


def test_a_day_whose_last_order_moved_away_has_no_rows(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    silver.append((1, "a", "2010-12-02T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    assert [row[0] for row in lake.rows()] == [SECOND]


def test_credit_notes_that_come_first_later_are_taken_in(lake: Folder) -> None:
    gold = lake.gold()
    assert gold.refresh().version is None, "no silver table is there"
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 3, "9"))
    gold.refresh()
    Silver(lake, CREDITS).append((0, "C1", "2010-12-01T09:00:00Z", "France", -1, "-3"))
    gold.refresh()
    assert lake.rows() == [(FIRST, "France", 1, 2, Decimal(6))]


def _compact(table: DeltaTable) -> None:
    table.optimize.compact()


def _vacuum(table: DeltaTable) -> None:
    table.optimize.compact()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


@pytest.mark.parametrize("maintain", [_compact, _vacuum, DeltaTable.create_checkpoint])
def test_maintenance_of_silver_computes_nothing_and_hides_nothing(lake: Folder, maintain: Any) -> None:
    silver, gold = Silver(lake), lake.gold()
    for number in range(3):
        silver.append((number, f"o{number}", "2010-12-01T08:00:00Z", "France", 1, "1"))
    version = gold.refresh().version
    maintain(lake.table("silver/order_accepted"))
    assert gold.refresh().version == version
    silver.append((3, "o3", "2010-12-02T08:00:00Z", "France", 1, "1"))
    maintain(lake.table("silver/order_accepted"))
    assert gold.refresh().days == 1
    assert [row[2] for row in lake.rows()] == [3, 1]


def _deleted(lake: Folder) -> None:
    lake.table("silver/order_accepted").delete("\"orderId\" = 'b'")


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
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    change(lake)
    assert gold.refresh().days is None
    assert lake.rows() == [(FIRST, "France", 1, 1, Decimal(1))]


def test_a_log_that_has_expired_is_no_gap(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    lake.table("silver/order_accepted").create_checkpoint()
    Path(lake.uri("silver/order_accepted/_delta_log/00000000000000000001.json")).unlink()
    assert gold.refresh().days is None
    assert len(lake.rows()) == 2


@pytest.mark.parametrize("spoil", ["delete", "restore", "append"])
def test_a_gold_table_that_others_have_altered_is_put_right(lake: Folder, spoil: str) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    right, table = lake.rows(), lake.table("gold/daily_sales")
    if spoil == "delete":
        table.delete()
    elif spoil == "restore":
        table.restore(0)
    else:
        from deltalake import QueryBuilder, write_deltalake

        write_deltalake(table, QueryBuilder().register("t", table).execute("select * from t"), mode="append")
    assert lake.rows() != right
    assert gold.refresh().days is None
    assert lake.rows() == right


def test_maintenance_of_gold_isnt_an_alteration(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    for number in range(3):
        silver.append((number, f"o{number}", f"2010-12-0{number + 1}T08:00:00Z", "France", 1, "1"))
        gold.refresh()
    _vacuum(lake.table("gold/daily_sales"))
    silver.append((3, "o3", "2010-12-03T08:00:00Z", "France", 1, "1"))
    assert gold.refresh().days == 1
    assert [row[2] for row in lake.rows()] == [1, 1, 2]


def test_another_declaration_computes_everything(lake: Folder) -> None:
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.gold().refresh()
    doubled = sales(SQL.replace("sum(units)", "2 * sum(units)"))
    assert lake.gold(doubled).refresh().days is None
    assert lake.rows()[0][3] == 2


def test_a_rebuild_is_the_same_table(lake: Folder) -> None:
    silver, gold = Silver(lake), lake.gold()
    for number in range(5):
        silver.append((number, f"o{number % 3}", f"2010-12-0{number % 4 + 1}T08:00:00Z", "France", number, "1.5"))
        gold.refresh()
    kept = lake.rows()
    assert gold.refresh(whole=True).days is None
    assert lake.rows() == kept


def test_a_refresh_that_dies_at_its_commit_is_done_again(lake: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    silver, gold = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    gold.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    real = type(gold)._write

    def written_and_dead(self: Any, *given: Any) -> int:
        real(self, *given)
        raise KeyboardInterrupt

    def dead(self: Any, *given: Any) -> int:
        raise KeyboardInterrupt

    for dies in (dead, written_and_dead):
        monkeypatch.setattr(type(gold), "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            gold.refresh()
    monkeypatch.setattr(type(gold), "_write", real)
    assert lake.gold().refresh().rows == 0, "the commit that was made counts"
    assert [row[2] for row in lake.rows()] == [1, 1]


def test_the_slower_of_two_at_once_gives_way(lake: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    silver, slow = Silver(lake), lake.gold()
    silver.append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    slow.refresh()
    silver.append((1, "b", "2010-12-02T08:00:00Z", "France", 1, "1"))
    real = type(slow)._compute

    def overtaken(self: Any, *given: Any) -> Any:
        rows = real(self, *given)
        if self is slow:
            silver.append((2, "c", "2010-12-03T08:00:00Z", "France", 1, "1"))
            lake.gold().refresh()
        return rows

    monkeypatch.setattr(type(slow), "_compute", overtaken)
    with pytest.raises(GoldConflict, match="written by somebody else"):
        slow.refresh()
    assert [row[2] for row in lake.rows()] == [1, 1, 1]


def test_a_function_of_arrow_tables_gives_the_same(lake: Folder) -> None:
    import duckdb
    from arro3.core import Table

    def by_function(order_accepted: Table, order_credit_accepted: Table) -> Table:
        con = duckdb.connect()
        con.register("order_accepted", order_accepted)
        con.register("order_credit_accepted", order_credit_accepted)
        return Table.from_arrow(con.sql(SQL))

    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1.25"))
    lake.gold().refresh()
    right = lake.rows()
    assert lake.gold(sales(call=by_function)).refresh().rows == 1
    assert lake.rows() == right


def test_an_empty_silver_table_makes_an_empty_gold_table(lake: Folder) -> None:
    from deltalake import write_deltalake

    write_deltalake(lake.uri("silver/order_accepted"), arrow("orderId", "placedAt", ()))
    assert lake.gold().refresh().rows == 0
    assert lake.rows() == []
    Silver(lake).append((0, "a", "2010-12-01T08:00:00Z", "France", 1, "1"))
    lake.gold().refresh()
    assert len(lake.rows()) == 1
