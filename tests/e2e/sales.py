"""The sales of an invoice file as DuckDB computes them from its rows, and the lake of a stack that has ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

__all__ = ["Sales", "lake"]

Rows = list[tuple[Any, ...]]
_LAKE_SECONDS = 300
_WIDTH = 6

_ROWS = """
    create temp table rows as
    select row_number() over () as place, trim(InvoiceNo) as number, trim(StockCode) as sku,
           cast(Quantity as bigint) as quantity, cast(UnitPrice as decimal(18, 6)) as price,
           cast(InvoiceDate as timestamp) as moment, Country as country
    from read_csv(?, all_varchar = true, parallel = false);
"""
_INVOICES = """
    create temp table invoices as
    select number, min(place) as place, arg_min(country, place) as country, cast(arg_min(moment, place) as date) as day,
           starts_with(number, 'C') as credit
    from rows group by number
    having bool_and(if(starts_with(number, 'C'), quantity < 0, quantity > 0)) and bool_and(price >= 0);
"""
_SALES = """
    select day, invoices.country, count(distinct number) filter (not credit), cast(sum(quantity) as bigint),
           cast(sum(quantity * price) as decimal(38, 6))
    from invoices join rows using (number) group by day, invoices.country order by all
"""
_LINES = """
    select number, sku, quantity, price from invoices join rows using (number) where credit = ? order by all
"""


class Sales:
    """What an invoice file comes to, by another way than the app's."""

    def __init__(self, file: Path) -> None:
        with duckdb.connect() as con:
            con.execute(_ROWS, [str(file)])
            con.execute(_INVOICES)
            self.daily: Rows = con.execute(_SALES).fetchall()
            self.lines: Rows = con.execute(_LINES, [False]).fetchall()
            self.credited: Rows = con.execute(_LINES, [True]).fetchall()
            ((self.invoices,),) = con.execute("select count(*) from invoices").fetchall()

    def as_text(self) -> list[tuple[str, ...]]:
        """All of it as rows of texts: what each is, and its values."""
        kinds = {"sales": self.daily, "line": self.lines, "credit": self.credited}
        found = [(kind, *(_text(value) for value in row)) for kind, rows in kinds.items() for row in rows]
        return sorted((*row, "") if len(row) < _WIDTH else row for row in found)


def lake(project: Path, data: Path, *arguments: str) -> Mapping[str, Any]:
    """`dev.py lake …`, which must succeed; what it tells as JSON."""
    command = [sys.executable, str(project / "dev.py"), "lake", "--data-dir", str(data), *arguments, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LAKE_SECONDS, cwd=data.parent, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def _text(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
