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
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

from shared.messages.gold import Gold, Source

from .changes import changes_since
from .computing import MEMORY_MB, NEWEST, Computing, quoted
from .errors import GoldConflict, WrongGold

if TYPE_CHECKING:
    from arro3.core import Table
    from deltalake import DeltaTable

__all__ = ["MOST_DAYS", "GoldTable", "Place", "Refreshed"]

MOST_DAYS = 366
"""That are computed by themselves; of more, the whole table is."""
_OWN = "gold"
_DECLARATION = "declaration"


class Place(Protocol):
    """Where Delta tables are."""

    @property
    def storage_options(self) -> dict[str, str]:
        """The Delta library's options for the store."""

    def uri(self, path: str) -> str:
        """The address of a table, such as `silver/order_accepted`."""


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


@dataclass
class GoldTable:
    """A gold table in a place. Its methods block: they are for a thread; `stop` is for others.

    Attributes
    ----------
    columns_of:
        By silver table its columns, each a name and SQL type, where the table needn't be there yet.
    """

    gold: Gold
    place: Place
    columns_of: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})
    memory_mb: int = MEMORY_MB
    _computing: Computing | None = None
    _stopped: bool = False

    def stop(self) -> None:
        """Have a refresh that runs in another thread fail at its next step."""
        self._stopped = True
        if (computing := self._computing) is not None:
            computing.stop()

    def refresh(self, *, whole: bool = False) -> Refreshed:
        """Bring the table up to its sources; with `whole` compute everything, whatever is there.

        Raises
        ------
        WrongGold
            The declaration doesn't fit.
        GoldConflict
            Somebody else has written the table at the same moment.
        """
        sources = {one.table: _open(self.place, f"silver/{one.table}") for one in self.gold.sources}
        if not any(sources.values()):
            return Refreshed(None)
        target = _open(self.place, f"gold/{self.gold.name}")
        known = {} if target is None else {name: target.transaction_version(name) for name in self._names()}
        marks = self._marks(sources)
        intact = target is not None and _untouched(target, self.place, known.get(_OWN))
        if target is not None and intact and not whole and all(known[name] == mark for name, mark in marks.items()):
            return Refreshed(target.version())
        days = None if whole or not intact else self._changed_days(sources, known, marks)
        if target is not None and days is not None and not days:
            return Refreshed(target.version())  # nothing but maintenance: the watermark may stay
        rows = self._compute(sources, days)
        if self._stopped:
            raise WrongGold(f"gold.{self.gold.name}: took too long")
        version = self._write(target, rows, days, marks)
        return Refreshed(version, rows.num_rows, None if days is None else len(days))

    def _names(self) -> list[str]:
        names = (name for one in self.gold.sources for name in _of_source(one.table))
        return [_OWN, _DECLARATION, *names]

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
        what = gold.call.__code__.co_code.hex() if gold.parameters else gold.call()
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
            changes = changes_since(table, self.place.storage_options, before, NEWEST[0])
            if changes is None:
                return None
            if changes.least is not None:
                found = _days_since(table, source, changes.least)
                if found is None or len(days := days | found) > MOST_DAYS:
                    return None
        return days

    def _compute(self, sources: Mapping[str, DeltaTable | None], days: Iterable[date] | None) -> Table:
        computing = self._computing = Computing.begin(self.gold, days, memory_mb=self.memory_mb)
        try:
            tables = {
                one.table: self._empty(one, computing)
                if (table := sources[one.table]) is None
                else _read(table, one, days, self.gold.name)
                for one in self.gold.sources
            }
            return computing.rows(tables)
        finally:
            self._computing = None
            computing.close()

    def _empty(self, source: Source, computing: Computing) -> Table:
        """A source that isn't there yet: no rows of its columns."""
        from arro3.core import Table

        kinds = self.columns_of(source.table)
        names = dict.fromkeys((*source.stored, *NEWEST))
        columns = ", ".join(f"CAST(NULL AS {kinds.get(name, 'VARCHAR')}) AS {quoted(name)}" for name in names)
        return Table.from_arrow(computing.connection.sql(f"SELECT {columns} WHERE false"))

    def _write(
        self, target: DeltaTable | None, rows: Table, days: Iterable[date] | None, marks: Mapping[str, int]
    ) -> int:
        """One commit: the rows in place of the former ones, and the watermark."""
        from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        uri, options = self.place.uri(f"gold/{self.gold.name}"), self.place.storage_options
        try:
            if target is None:
                target = DeltaTable.create(uri, rows.schema, storage_options=options, name=self.gold.name)
        except DeltaError:  # somebody else has made it at this moment
            raise GoldConflict(f"gold.{self.gold.name}: is being made") from None
        version = target.version() + 1
        transactions = [Transaction(name, mark) for name, mark in {_OWN: version, **marks}.items()]
        # Tried once: it follows the version that was read, or somebody else has written and all is looked at anew.
        commit = CommitProperties(app_transactions=transactions, max_commit_retries=0)
        try:
            if days is None:
                write_deltalake(target, rows, mode="overwrite", schema_mode="overwrite", commit_properties=commit)
            else:
                listed = ", ".join(f"'{day.isoformat()}'" for day in sorted(days))
                where = f"{quoted(self.gold.keys[0])} IN ({listed})"
                write_deltalake(target, rows, mode="overwrite", predicate=where, commit_properties=commit)
        except CommitFailedError:
            raise GoldConflict(f"gold.{self.gold.name}: was written by somebody else") from None
        return version


def _of_source(table: str) -> tuple[str, str]:
    """The names of the transactions that tell a source's version and identity."""
    return f"silver/{table}", f"silver/{table}/id"


def _number(text: str) -> int:
    """A text's hash as a transaction takes it."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _open(place: Place, path: str) -> DeltaTable | None:
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(place.uri(path), storage_options=place.storage_options)
    except TableNotFoundError:
        return None


def _untouched(target: DeltaTable, place: Place, own: int | None) -> bool:
    """Whether nobody but this code has changed what the table holds."""
    if own is None:
        return False
    changes = changes_since(target, place.storage_options, own, "")
    return changes is not None and not changes.grown


def _days_since(table: DeltaTable, source: Source, least: int) -> set[date] | None:
    """The days of rows that may be new, and of what they may take the place of; None where one tells no day."""
    from arro3.core import Table
    from deltalake import QueryBuilder

    day, new = quoted(source.day or ""), f"{quoted(NEWEST[0])} >= {least}"
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

    present = {one.name for one in table.schema().fields}
    names = dict.fromkeys((*source.stored, *(NEWEST if source.latest is not None else ())))
    if missing := [name for name in names if name not in present]:
        raise WrongGold(f"gold.{gold}: silver.{source.table} has no column {missing[0]}")
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


def _ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """Half-open ranges that hold these days and no others."""
    found: list[tuple[date, date]] = []
    for day in days:
        if found and found[-1][1] == day:
            found[-1] = (found[-1][0], day + timedelta(days=1))
        else:
            found.append((day, day + timedelta(days=1)))
    return found
