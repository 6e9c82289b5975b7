"""Computes the rows of a gold table from Arrow tables, by DuckDB that reaches nothing else. Pure, but for the CPU.

The SQL is the team's own and yet confined: one SELECT over the sources' declared columns; no file, network, extension
or setting is in its reach, memory and threads are bounded, and nothing spills to the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from threading import Event
from typing import TYPE_CHECKING, Any

from shared.messages.gold import DAY, Gold, Source

from .errors import WrongGold

if TYPE_CHECKING:
    from arro3.core import Table
    from duckdb import DuckDBPyConnection

__all__ = ["MEMORY_MB", "Computing", "quoted"]

MEMORY_MB = 512
"""Of DuckDB; the silver rows that are read come on top."""
NEWEST = ("sequence", "log_sequence")
"""The columns of a silver row by which the newest is found: it counts the events of its key."""
_LONGEST = 300


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Computing:
    """One computation; `stop` ends it from another thread.

    Attributes
    ----------
    gold:
        What is computed.
    days:
        The days that are computed, all of them without.
    """

    gold: Gold
    days: frozenset[date] | None
    connection: DuckDBPyConnection
    stopped: Event = field(default_factory=Event)

    @classmethod
    def begin(cls, gold: Gold, days: Iterable[date] | None, memory_mb: int = MEMORY_MB) -> Computing:
        """A connection of its own, which reaches nothing outside."""
        import duckdb

        connection = duckdb.connect(
            config={"enable_external_access": "false", "memory_limit": f"{memory_mb}MB", "threads": "1"}
        )
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would be written to the process's output
        connection.execute("SET max_temp_directory_size = '0B'")
        connection.execute("SET lock_configuration = true")
        return cls(gold, None if days is None else frozenset(days), connection)

    def stop(self) -> None:
        """Have the computation fail at once, or at its next step; one that has ended isn't touched."""
        import duckdb

        self.stopped.set()
        with contextlib.suppress(duckdb.ConnectionException):  # closed
            self.connection.interrupt()

    def close(self) -> None:
        """Free what it holds."""
        self.connection.close()

    def rows(self, tables: Mapping[str, Table]) -> Table:
        """The gold table's rows, ordered by their keys.

        Parameters
        ----------
        tables:
            By source: its stored columns, and `sequence` where the newest of them counts.

        Raises
        ------
        WrongGold
            The SQL or function fails, or returns other than what is declared.
        """
        import duckdb

        try:
            for source in self.gold.sources:
                self._show(source, tables[source.table])
            self._compute()
            self._check()
            return self._result()
        except (duckdb.Error, MemoryError) as error:
            raise WrongGold(self.gold.table, f"{_reason(error)}") from None

    def _show(self, source: Source, table: Table) -> None:
        """A view of a source under its own name: the declared columns, and the newest of its rows."""
        raw = f"{source.table} as stored"
        self.connection.register(raw, table)
        present = set(table.column_names)
        if missing := [name for name in source.stored if name not in present]:
            raise WrongGold(self.gold.table, f"silver.{source.table} has no column {missing[0]}")
        columns = [quoted(name) for name in source.columns]
        conditions, newest = "", ""
        if source.day is not None:
            columns.insert(0, f"{self._day(source, table)} AS {DAY}")
        if source.latest is not None:
            order = ", ".join(f"{quoted(name)} DESC" for name in NEWEST)
            newest = f" QUALIFY row_number() OVER (PARTITION BY {quoted(source.latest)} ORDER BY {order}) = 1"
        view = f"SELECT * FROM {quoted(raw)}{newest}"
        if self.days is not None:
            days = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(self.days)) or "NULL"
            conditions = f" WHERE {DAY} IN ({days})"
        self.connection.execute(
            f"CREATE VIEW {quoted(source.table)} AS "
            f"SELECT * FROM (SELECT {', '.join(columns)} FROM ({view})){conditions}"
        )

    def _day(self, source: Source, table: Table) -> str:
        column = quoted(source.day or "")
        kind = self.connection.execute(f"SELECT typeof({column}) FROM {quoted(f'{source.table} as stored')} LIMIT 1")
        text = (kind.fetchone() or ("",))[0] == "VARCHAR"
        return f"CAST(substr({column}, 1, 10) AS DATE)" if text else f"CAST({column} AS DATE)"

    def _compute(self) -> None:
        """Put what the SQL or the function returns into a table."""
        gold = self.gold
        if self.stopped.is_set():
            raise WrongGold(gold.table, "took too long")
        if names := gold.parameters:
            from arro3.core import Table

            given = {name: Table.from_arrow(self.connection.table(name)) for name in names}
            try:
                found = Table.from_arrow(gold.call(**given))
            except Exception as error:  # the team's own code
                raise WrongGold(gold.table, f"its function fails: {_reason(error)}") from error
            self.connection.register("returned", found)
            select = 'SELECT * FROM "returned"'
        else:
            select = self._statement()
        self.connection.execute(f"CREATE TEMP TABLE computed AS {select}")

    def _statement(self) -> str:
        """The declared SQL, which is one SELECT."""
        import duckdb

        sql = self.gold.call()
        if not isinstance(sql, str):
            raise WrongGold(self.gold.table, f"its function returns no SQL, but {type(sql).__name__}")
        statements = self.connection.extract_statements(sql)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise WrongGold(self.gold.table, "its SQL isn't one SELECT")
        return f"SELECT * FROM (\n{statements[0].query.strip().rstrip(';')}\n)"

    def _check(self) -> None:
        gold = self.gold
        found = dict(self._all("SELECT column_name, column_type FROM (DESCRIBE computed)"))
        declared = dict(gold.columns())
        if missing := [name for name in declared if name not in found]:
            raise WrongGold(gold.table, f"its SQL returns no column {missing[0]}")
        if extra := [name for name in found if name not in declared]:
            raise WrongGold(gold.table, f"its SQL returns {extra[0]}, which isn't declared")
        for name, kind in declared.items():
            if not _holds(kind, found[name]):
                raise WrongGold(gold.table, f"{name} is {found[name]}, and declared as {kind}")
        for key in gold.keys:
            ((empty,),) = self._all(f"SELECT count(*) FROM computed WHERE {quoted(key)} IS NULL")
            if empty:
                raise WrongGold(gold.table, f"{empty} rows have no {key}, which is a key")
        keys = ", ".join(map(quoted, gold.keys))
        ((twice,),) = self._all(f"SELECT count(*) FROM (SELECT {keys} FROM computed GROUP BY ALL HAVING count(*) > 1)")
        if twice:
            raise WrongGold(gold.table, f"{twice} keys have more than one row")
        if self.days is not None:
            days = {day for (day,) in self._all(f"SELECT DISTINCT {quoted(gold.keys[0])} FROM computed")}
            if days - self.days:
                raise WrongGold(gold.table, "its SQL returns days that its sources' rows don't have")

    def _result(self) -> Table:
        from arro3.core import Table

        columns = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in self.gold.columns())
        keys = ", ".join(map(quoted, self.gold.keys))
        return Table.from_arrow(self.connection.sql(f"SELECT {columns} FROM computed ORDER BY {keys}"))

    def _all(self, sql: str) -> Sequence[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()


_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


def _holds(declared: str, found: str) -> bool:
    """Whether a column of a type takes every value of another as it is; what is too great for it fails by itself."""
    if declared == found:
        return True
    if declared.startswith("DECIMAL"):
        return found in _INTEGERS or (found.startswith("DECIMAL") and _places(found) <= _places(declared))
    if declared == "BIGINT":
        return found in _INTEGERS or (found.startswith("DECIMAL") and _places(found) == 0)
    return (declared, found) in {("DOUBLE", "FLOAT"), ("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")}


def _places(kind: str) -> int:
    return int(kind.partition(",")[2].rstrip(")"))


def _reason(error: BaseException) -> str:
    """What is wrong with the SQL; an error about a value, which it would quote, is only named."""
    import duckdb

    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        return str(error).strip().splitlines()[0][:_LONGEST]
    return type(error).__name__
