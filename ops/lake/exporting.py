"""A table of the lake as a file: Parquet, CSV or NDJSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shared.lake.tables import LakeStore, Layer

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["FORMATS", "export"]

FORMATS = {"parquet": "FORMAT parquet", "csv": "FORMAT csv, HEADER", "ndjson": "FORMAT json"}
"""By the ending of the file: how DuckDB is asked for it."""


async def export(store: LakeStore, layer: Layer, name: str, form: str, file: Path) -> int:
    """Write all rows to a file, which is whole or not there; returns how many there are.

    Raises
    ------
    TableMissing, LakeUnavailable
    OSError
        The file can't be written.
    """
    table = await store.open(layer, name)
    part = file.with_name(f"{file.name}.part")
    try:
        part.touch()  # what is wrong with the place is known before anything is read
        rows = await store.run(layer, name, _copy, table, part, FORMATS[form])
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return rows


def _copy(table: DeltaTable, file: Path, options: str) -> int:
    import duckdb
    from deltalake import QueryBuilder

    with duckdb.connect() as con:  # writes the operator's file; the SQL is ours
        con.execute("SET TimeZone = 'UTC'")
        con.register("rows", QueryBuilder().register("rows", table).execute("SELECT * FROM rows"))
        path = str(file).replace("'", "''")
        ((rows,),) = con.execute(f"COPY (SELECT * FROM rows) TO '{path}' ({options})").fetchall()  # noqa: S608
    return int(rows)
