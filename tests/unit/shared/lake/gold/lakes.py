"""Silver tables of a shop on this disk, and the gold table of its sales."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import duckdb
from arro3.core import Schema, Table
from deltalake import DeltaTable, write_deltalake
from pydantic import Field

from shared.jobs import parse_schedule
from shared.lake.gold import GoldTable, Refreshed
from shared.lake.tables import LakeStore
from shared.messages import Contract, Gold, Source

Money = Annotated[Decimal, Field(max_digits=38, decimal_places=6)]
ORDERS, CREDITS = "order_accepted", "order_credit_accepted"
NAMES = {ORDERS: ("order_id", "placed_at"), CREDITS: ("credit_note_id", "credited_at")}
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
    Source(ORDERS, ["country", "units", "total"], day="placed_at", latest="order_id"),
    Source(CREDITS, ["country", "units", "total"], day="credited_at", latest="credit_note_id"),
)


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
    """A lake, on this disk unless the Delta library has options for another store."""

    root: str
    storage_options: dict[str, str] = field(default_factory=dict)

    def uri(self, path: str) -> str:
        """The address of a table."""
        return f"{self.root}/{path}"

    def refresh(self, gold: Gold | None = None, **how: Any) -> Refreshed:
        """Bring the sales up to silver."""

        async def options() -> dict[str, str]:
            return self.storage_options

        store = LakeStore(self.root, options)
        try:
            return asyncio.run(GoldTable(gold or sales(), store, schema_of=schema_of).refresh(**how))
        finally:
            store.close()

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


@dataclass(frozen=True)
class Silver:
    """One silver table."""

    lake: Folder
    name: str = ORDERS

    def append(self, *rows: tuple[int, str, str, str, int, str], mode: Any = "append") -> None:
        """Rows of sequence, key, time, country, units, total, in one commit."""
        write_deltalake(
            self.lake.uri(f"silver/{self.name}"),
            arrow(*NAMES[self.name], rows),
            mode=mode,
            storage_options=self.lake.storage_options,
        )


def arrow(key: str, at: str, rows: Sequence[tuple[int, str, str, str, int, str]]) -> Table:
    """Rows as silver has them."""
    con = duckdb.connect()
    con.execute(
        f'create table t (log_sequence bigint, "{key}" varchar, "{at}" timestamptz, country varchar, units bigint, '
        "total decimal(18,6), sequence bigint)"
    )
    if rows:
        made = [(a, b, datetime.fromisoformat(c).astimezone(UTC), d, e, Decimal(f), a) for a, b, c, d, e, f in rows]
        con.executemany("insert into t values (?, ?, ?, ?, ?, ?, ?)", made)
    return Table.from_arrow(con.table("t"))


def schema_of(name: str) -> Schema:
    """The schema of a silver table."""
    return arrow(*NAMES[name], ()).schema
