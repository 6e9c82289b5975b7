"""SQL of an operator over the lake's tables, by DuckDB that reaches nothing else: read only, by construction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from shared.lake.tables import LakeStore, Layer

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from duckdb import DuckDBPyConnection

__all__ = ["MEMORY_MB", "WrongQuery", "queried", "rows_of"]

MEMORY_MB = 2_048
"""The tables that a query names are in memory, compressed."""


class WrongQuery(ValueError):
    """The SQL can't be followed; the message says why."""


@asynccontextmanager
async def queried(store: LakeStore, sql: str) -> AsyncIterator[DuckDBPyConnection]:
    """A connection whose table `answer` is what one SELECT returns; `silver.x`, `gold.x`, `quarantine.x` are tables.

    Raises
    ------
    WrongQuery
        It is no SELECT, or fails.
    TableMissing, LakeUnavailable
    """
    import duckdb

    con = duckdb.connect(config={"enable_external_access": "false", "memory_limit": f"{MEMORY_MB}MB"})
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")  # it would be written into the answer
    con.execute("SET max_temp_directory_size = '0B'")
    con.execute("SET lock_configuration = true")
    try:
        for layer, name in sorted(_named(con, sql)):
            table = await store.open(layer, name)
            await store.run(layer, name, _load, con, table, layer, name)
        try:
            con.execute(f"CREATE TEMP TABLE answer AS SELECT * FROM (\n{sql.strip().rstrip(';')}\n)")  # noqa: S608 - one SELECT
        except duckdb.Error as error:
            raise WrongQuery(_first_line(error)) from None
        yield con
    finally:
        con.close()


def _named(con: DuckDBPyConnection, sql: str) -> Iterator[tuple[Layer, str]]:
    """The tables of the lake that one SELECT names."""
    ((text,),) = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    parsed = json.loads(text)
    if parsed["error"]:
        raise WrongQuery(parsed["error_message"])
    if len(parsed["statements"]) != 1:
        raise WrongQuery("give one SELECT")
    for schema, name in _base_tables(parsed):
        if not schema:
            continue  # a common table expression, or one that DuckDB doesn't know either
        try:
            yield Layer(schema.lower()), name.lower()
        except ValueError:
            raise WrongQuery(f"{schema}.{name}: the layers are {', '.join(Layer)}") from None


def _base_tables(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["schema_name"], node["table_name"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _base_tables(one)


def _load(con: DuckDBPyConnection, table: DeltaTable, layer: Layer, name: str) -> None:
    from deltalake import QueryBuilder

    con.execute(f'CREATE SCHEMA IF NOT EXISTS "{layer}"')
    con.register("rows of the table", QueryBuilder().register("rows", table).execute("SELECT * FROM rows"))
    con.execute(f'CREATE TABLE "{layer}"."{name}" AS SELECT * FROM "rows of the table"')  # noqa: S608 - a checked name
    con.unregister("rows of the table")


def rows_of(con: DuckDBPyConnection) -> tuple[Sequence[str], Sequence[tuple[Any, ...]]]:
    """The columns and the rows of an answer."""
    found = con.execute("SELECT * FROM answer")
    return [column[0] for column in found.description or ()], found.fetchall()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
