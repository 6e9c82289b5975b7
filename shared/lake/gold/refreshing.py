"""Keeps a gold table: what changed in silver is computed again and replaced by one commit, with its watermark.

A refresh is a function of the silver tables' versions. Which rows are new is read from their logs; the days they
belong to, and those from which they take the place of an older row, are computed from all rows of these days, and
replaced together. So a refresh that is done twice, or again after a kill, gives the same table. Where the log can't
say what changed (rows were removed, the table was restored or made anew, an entry expired, the declaration is another,
somebody else wrote the gold table) everything is computed again. The watermark are Delta transactions of the commit:
by source its version and its identity, the declaration's hash, and the gold table's own version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

from shared.lake.tables import LakeStore, Layer, TableMissing
from shared.messages.gold import Gold, Source

from .changes import changes_since
from .computing import MEMORY_MB, NEWEST, Computing, quoted
from .errors import WrongGold

if TYPE_CHECKING:
    from arro3.core import Schema, Table
    from deltalake import DeltaTable

__all__ = ["MOST_DAYS", "GoldTable", "Refreshed"]

T = TypeVar("T")

MOST_DAYS = 366
"""That are computed by themselves; of more, the whole table is."""
_OWN = "gold"
_NEW = "log_sequence"
"""The column of silver that grows with what a partition of the hub brings."""
_DECLARATION = "declaration"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did.

    Attributes
    ----------
    version:
        Of the gold table; None where there is none, since its sources aren't there yet.
    rows:
        That were computed and written.
    days:
        How many days were computed again; None where all of it was.
    """

    version: int | None
    rows: int = 0
    days: int | None = 0


class GoldTable:
    """A gold table in a lake.

    Parameters
    ----------
    schema_of:
        By silver table its Arrow schema: that of a table which isn't there yet.
    configuration:
        Table properties of a new table.
    """

    def __init__(
        self,
        gold: Gold,
        store: LakeStore,
        *,
        schema_of: Callable[[str], Schema],
        configuration: Mapping[str, str] | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> None:
        self.gold = gold
        self._store = store
        self._schema_of = schema_of
        self._configuration = configuration
        self._memory_mb = memory_mb

    async def refresh(self, *, whole: bool = False) -> Refreshed:
        """Bring the table up to its sources; with `whole` compute everything, whatever is there.

        Raises
        ------
        WrongGold
            The declaration doesn't fit.
        CommitConflict
            Somebody else has written the table at the same moment: the next refresh sees what.
        LakeUnavailable
        """
        sources = {one.table: await self._open(Layer.SILVER, one.table) for one in self.gold.sources}
        if not any(sources.values()):
            return Refreshed(None)
        target = await self._open(Layer.GOLD, self.gold.name)
        marks, days = await self._run(self._to_compute, sources, target, whole)
        if target is not None and days is not None and not days:
            return Refreshed(target.version())
        rows = await self._compute(sources, days)
        if target is None:
            name, schema = self.gold.name, rows.schema
            target = await self._store.create(Layer.GOLD, name, schema, configuration=self._configuration)
        version = await self._run(_write, target, rows, self.gold.keys[0], days, marks)
        return Refreshed(version, rows.num_rows, None if days is None else len(days))

    async def _open(self, layer: Layer, name: str) -> DeltaTable | None:
        try:
            return await self._store.open(layer, name)
        except TableMissing:
            return None

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        return await self._store.run(Layer.GOLD, self.gold.name, call, *arguments)

    def _to_compute(
        self, sources: Mapping[str, DeltaTable | None], target: DeltaTable | None, whole: bool
    ) -> tuple[dict[str, int], set[date] | None]:
        """The watermark of the sources, and the days to compute up to it: None for all of them."""
        marks = self._marks(sources)
        if whole or target is None:
            return marks, None
        known = {name: target.transaction_version(name) for name in (_OWN, *marks)}
        if not _untouched(target, known[_OWN]):
            return marks, None
        if all(known[name] == mark for name, mark in marks.items()):
            return marks, set()
        return marks, self._changed_days(sources, known, marks)

    def _marks(self, sources: Mapping[str, DeltaTable | None]) -> dict[str, int]:
        """The watermark of what is to be computed: all that the rows depend on."""
        marks = {_DECLARATION: _number(self._declaration())}
        for name, table in sources.items():
            version, identity = _of_source(name)
            marks[version] = -1 if table is None else table.version()
            marks[identity] = 0 if table is None else _number(str(table.metadata().id))
        return marks

    def _declaration(self) -> str:
        gold = self.gold
        what = _code(gold.call.__code__) if gold.parameters else gold.call()
        return repr((gold.keys, tuple(gold.columns()), gold.sources, what))

    def _changed_days(
        self, sources: Mapping[str, DeltaTable | None], known: Mapping[str, int | None], marks: Mapping[str, int]
    ) -> set[date] | None:
        """The days to compute again; None for all of them."""
        if not self.gold.by_day or known[_DECLARATION] != marks[_DECLARATION]:
            return None
        days: set[date] = set()
        for source in self.gold.sources:
            version, identity = _of_source(source.table)
            table, before = sources[source.table], known[version]
            if known[identity] != marks[identity] or before is None:
                return None
            if table is None or before == marks[version]:
                continue
            changes = changes_since(table, before, _NEW)
            if changes is None:
                return None
            if changes.least is not None:
                found = _days_since(table, source, changes.least)
                if found is None or len(days := days | found) > MOST_DAYS:
                    return None
        return days

    async def _compute(self, sources: Mapping[str, DeltaTable | None], days: set[date] | None) -> Table:
        computing = await self._run(Computing.begin, self.gold, days, self._memory_mb)
        try:
            return await self._run(self._rows, computing, sources, days)
        except BaseException:
            computing.stop()  # it was given up, and may be at work still
            raise

    def _rows(self, computing: Computing, sources: Mapping[str, DeltaTable | None], days: set[date] | None) -> Table:
        try:
            tables = {
                one.table: self._empty(one)
                if (table := sources[one.table]) is None
                else _read(table, one, days, self.gold.table)
                for one in self.gold.sources
            }
            return computing.rows(tables)
        finally:
            computing.close()

    def _empty(self, source: Source) -> Table:
        """A source that isn't there yet: no rows of its columns."""
        from arro3.core import Table

        table = Table.from_batches([], schema=self._schema_of(source.table))
        return table.select(_read_columns(source, table.column_names, self.gold.table))


def _write(target: DeltaTable, rows: Table, key: str, days: Iterable[date] | None, marks: Mapping[str, int]) -> int:
    """One commit: the rows in place of the former ones, and the watermark."""
    from deltalake import CommitProperties, Transaction, write_deltalake

    version = target.version() + 1
    transactions = [Transaction(name, mark) for name, mark in {_OWN: version, **marks}.items()]
    # Tried once: it follows the version that was read, or somebody else has written and all is looked at anew.
    commit = CommitProperties(app_transactions=transactions, max_commit_retries=0)
    if days is None:
        write_deltalake(target, rows, mode="overwrite", schema_mode="overwrite", commit_properties=commit)
    else:
        listed = ", ".join(f"'{day.isoformat()}'" for day in sorted(days))
        where = f"{quoted(key)} IN ({listed})"
        write_deltalake(target, rows, mode="overwrite", predicate=where, commit_properties=commit)
    return version


def _of_source(table: str) -> tuple[str, str]:
    """The names of the transactions that tell a source's version and identity."""
    return f"silver/{table}", f"silver/{table}/id"


def _number(text: str) -> int:
    """A text's hash as a transaction takes it."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _untouched(target: DeltaTable, own: int | None) -> bool:
    """Whether nobody but this code has changed what the table holds."""
    if own is None:
        return False
    changes = changes_since(target, own, "")
    return changes is not None and not changes.grown


def _days_since(table: DeltaTable, source: Source, least: int) -> set[date] | None:
    """The days of rows that may be new, and of what they may take the place of; None where one tells no day."""
    from arro3.core import Table
    from deltalake import QueryBuilder

    day, new = quoted(source.day or ""), f"{quoted(_NEW)} >= {least}"
    where = new
    if source.latest is not None:
        latest = quoted(source.latest)
        where = f"{latest} IN (SELECT {latest} FROM source WHERE {new})"
    found = (
        QueryBuilder()
        .register("source", table)
        .execute(f"SELECT DISTINCT substr(CAST({day} AS VARCHAR), 1, 10) AS day FROM source WHERE {where}")
    )
    values = Table.from_arrow(found)["day"].to_pylist()
    try:
        return {date.fromisoformat(value) for value in values}
    except (TypeError, ValueError):
        return None


def _read(table: DeltaTable, source: Source, days: Iterable[date] | None, gold: str) -> Table:
    """The declared columns of the rows that belong to some days, or of all rows; pushed down to the files."""
    from arro3.core import Table
    from deltalake import QueryBuilder

    names = _read_columns(source, [one.name for one in table.schema().fields], gold)
    where = ""
    if days is not None and source.day is not None:
        column = quoted(source.day)
        ranges = " OR ".join(f"({column} >= '{a}' AND {column} < '{b}')" for a, b in _ranges(sorted(days)))
        where = f" WHERE {ranges}"
        if source.latest is not None:
            latest = quoted(source.latest)
            where = f" WHERE {latest} IN (SELECT {latest} FROM source{where})"
    columns = ", ".join(map(quoted, names))
    return Table.from_arrow(QueryBuilder().register("source", table).execute(f"SELECT {columns} FROM source{where}"))


def _read_columns(source: Source, present: Sequence[str], gold: str) -> list[str]:
    names = dict.fromkeys((*source.stored, *(NEWEST if source.latest is not None else ())))
    if missing := [name for name in names if name not in present]:
        raise WrongGold(gold, f"silver.{source.table} has no column {missing[0]}")
    return list(names)


def _ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Half-open ranges that hold these days and no others."""
    found: list[tuple[date, date]] = []
    for day in days:
        if found and found[-1][1] == day:
            found[-1] = (found[-1][0], day + timedelta(days=1))
        else:
            found.append((day, day + timedelta(days=1)))
    return found


def _code(code: CodeType) -> str:
    """What a function's own text says, constants and names included; what it calls is not seen."""
    constants = [_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code.hex(), constants, code.co_names))
