"""Silver tables of a shop on this disk, and the gold table of its sales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import duckdb
from arro3.core import Table
from deltalake import DeltaTable, write_deltalake
from pydantic import Field

from shared.jobs import parse_schedule
from shared.lake.gold import GoldTable
from shared.messages import Contract, Gold, Source

Money = Annotated[Decimal, Field(max_digits=38, decimal_places=6)]
ORDERS, CREDITS = "order_accepted", "order_credit_accepted"
SQL = """
    select day, country, sum(orders) as orders, sum(units) as units, sum(total) as revenue
    from (
        select day, country, 1 as orders, units, total from order_accepted
        union all
        select day, country, 0, units, total from order_credit_accepted
    )
    group by all
"""
SOURCES = (
    Source(ORDERS, ["country", "units", "total"], day="placedAt", latest="orderId"),
    Source(CREDITS, ["country", "units", "total"], day="creditedAt", latest="creditNoteId"),
)
COLUMNS = {
    "sequence": "BIGINT",
    "orderId": "VARCHAR",
    "creditNoteId": "VARCHAR",
    "placedAt": "TIMESTAMPTZ",
    "creditedAt": "TIMESTAMPTZ",
    "country": "VARCHAR",
    "units": "BIGINT",
    "total": "DECIMAL(18,6)",
}


class DailySales(Contract):
    """What was sold on a day in a country."""

    day: date
    country: str
    orders: int
    units: int
    revenue: Money


def sales(sql: str = SQL, **changes: Any) -> Gold:
    """The declaration of the sales, or one that differs."""
    return Gold(
        **{
            "integration": "shop",
            "name": "daily_sales",
            "schedule": parse_schedule("5m"),
            "keys": ("day", "country"),
            "row": DailySales,
            "sources": SOURCES,
            "call": lambda: sql,
            **changes,
        }
    )


@dataclass(frozen=True)
class Folder:
    """A lake on this disk, or wherever the Delta library finds it."""

    root: str
    storage_options: dict[str, str]

    @classmethod
    def at(cls, path: Path) -> Folder:
        """A lake in a folder."""
        return cls(str(path), {})

    def uri(self, path: str) -> str:
        """The address of a table."""
        return f"{self.root}/{path}"

    def table(self, path: str) -> DeltaTable:
        """A handle of a table."""
        return DeltaTable(self.uri(path), storage_options=self.storage_options)

    def rows(self, path: str = "gold/daily_sales") -> list[tuple[Any, ...]]:
        """All rows of a table, ordered."""
        from deltalake import QueryBuilder

        found = Table.from_arrow(QueryBuilder().register("t", self.table(path)).execute("select * from t"))
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        con.register("found", found)
        return sorted(con.execute("select * from found").fetchall())

    def gold(self, gold: Gold | None = None) -> GoldTable:
        """The sales, with the types of what isn't there yet."""
        return GoldTable(gold or sales(), self, columns_of=lambda _: COLUMNS)


@dataclass(frozen=True)
class Silver:
    """One silver table."""

    lake: Folder
    name: str = ORDERS

    def append(self, *rows: tuple[int, str, str, str, int, str], mode: Any = "append") -> None:
        """Rows of sequence, key, time, country, units, total, in one commit."""
        key, at = ("orderId", "placedAt") if self.name == ORDERS else ("creditNoteId", "creditedAt")
        write_deltalake(
            self.lake.uri(f"silver/{self.name}"),
            arrow(key, at, rows),
            mode=mode,
            storage_options=self.lake.storage_options,
        )


def arrow(key: str, at: str, rows: Sequence[tuple[int, str, str, str, int, str]]) -> Table:
    """Rows as silver has them."""
    con = duckdb.connect()
    con.execute(
        f'create table t (sequence bigint, "{key}" varchar, "{at}" timestamptz, country varchar, units bigint, '
        "total decimal(18,6))"
    )
    if rows:
        made = [(a, b, datetime.fromisoformat(c).astimezone(UTC), d, e, Decimal(f)) for a, b, c, d, e, f in rows]
        con.executemany("insert into t values (?, ?, ?, ?, ?, ?)", made)
    return Table.from_arrow(con.table("t"))
