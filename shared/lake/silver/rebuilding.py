"""Builds silver tables anew from the log, beside those that are read, and replaces each of these by one commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.lake.tables import CommitConflict, Committer, LakeError, LakeStore, Layer, TableMissing, WatermarkMoved

from .ingest import Applied, EventSource, SilverIngest, or_less
from .quarantine import quarantine_schema
from .reading import arrow_table
from .tables import SilverLine

if TYPE_CHECKING:
    from arro3.core import RecordBatchReader, Schema
    from deltalake import DeltaTable

__all__ = ["STAGED", "RebuildWouldLose", "SilverRebuild"]

STAGED = "rebuilt_"
"""What the names of the tables begin with that are built beside the others."""
_ROUNDS = 20


class RebuildWouldLose(LakeError):
    """The log doesn't hold all that the table has: what is built from it would be less."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A table that is read, and the one that comes in its place."""

    layer: Layer
    name: str
    live: Committer
    staged: Committer
    schema: "Schema"


class SilverRebuild:
    """One rebuild of some lines' tables. One at a time: of two, one fails.

    Parameters
    ----------
    make:
        Makes an ingest of lines, with a prefix of their tables' names.
    """

    def __init__(
        self,
        store: LakeStore,
        lines: Sequence[SilverLine],
        make: Callable[[Sequence[SilverLine], str], SilverIngest],
    ) -> None:
        self._store = store
        self._lines = lines
        self._make = make

    async def run(self, source: EventSource, *, force: bool = False) -> Applied:
        """Rebuild, and return what the new tables were made from.

        Those that are there stay as they are, and are added to, until the new ones have caught up with them.

        Parameters
        ----------
        force:
            Also where the new tables have fewer events than the old ones.

        Raises
        ------
        RebuildWouldLose, LakeError
            Nothing was replaced, or some tables of a line; the next rebuild does the others.
        """
        partitions = list(await source.partitions())
        live, staged = self._make(self._lines, ""), self._make(self._lines, STAGED)
        pairs = [pair for line in self._lines for pair in _pairs(line, live, staged)]
        for pair in pairs:
            await self._empty(pair, live, partitions)
        for _ in range(_ROUNDS):
            applied, _ = await staged.catch_up(source, lambda: float("inf"))
            if applied.failed:
                raise next(iter(applied.failed.values()))
            if not force:
                await self._compare()
            try:
                for pair in pairs:
                    await self._swap(pair, live, partitions)
            except (WatermarkMoved, CommitConflict):
                continue  # the old one has got events meanwhile
            for pair in pairs:
                await self._empty(pair, live, partitions)
            return applied
        raise LakeError("silver", "events come faster than the tables can be rebuilt")

    async def _compare(self) -> None:
        """Raise RebuildWouldLose unless each new table has as many events as the old one."""
        for line in self._lines:
            old, new = [await self._count(f"{prefix}{line.root.name}") for prefix in ("", STAGED)]
            if new < old:
                raise RebuildWouldLose(
                    f"silver.{line.root.name}", f"the log has {new} events of the {old} in the table"
                )

    async def _count(self, name: str) -> int:
        try:
            table = await self._store.open(Layer.SILVER, name)
        except TableMissing:
            return 0
        return await self._store.run(Layer.SILVER, name, table.count)

    async def _swap(self, pair: _Pair, ingest: SilverIngest, partitions: Sequence[str]) -> None:
        ids = [ingest.app_id(one) for one in partitions]
        old, new = await pair.live.watermarks(ids), await pair.staged.watermarks(ids)
        marks = {one: new[one] if new[one] is not None else -1 for one in ids}
        if pair.layer is Layer.SILVER and any(or_less(old[one]) > or_less(new[one]) for one in ids):
            raise WatermarkMoved(f"{pair.layer}.{pair.name}", old)
        table = await pair.staged.table()
        await pair.live.replace(lambda: _all_rows(table), {one: marks[one] or 0 for one in ids}, after=old)

    async def _empty(self, pair: _Pair, ingest: SilverIngest, partitions: Sequence[str]) -> None:
        ids = [ingest.app_id(one) for one in partitions]
        after = await pair.staged.watermarks(ids)
        await pair.staged.replace(lambda: arrow_table([], pair.schema), dict.fromkeys(ids, -1), after=after)


def _pairs(line: SilverLine, live: SilverIngest, staged: SilverIngest) -> list[_Pair]:
    """Quarantine first, the table of events last, as they are committed."""
    name, schema = line.quarantine, quarantine_schema()
    quarantine = _Pair(Layer.QUARANTINE, name, live.quarantine(name), staged.quarantine(name), schema)
    tables = [
        _Pair(Layer.SILVER, one.name, live.committer(one), staged.committer(one), one.schema())
        for one in reversed(line.tables)
    ]
    return [quarantine, *tables]


def _all_rows(table: "DeltaTable") -> "RecordBatchReader":
    from deltalake import QueryBuilder

    columns = ", ".join(f'"{field.name}"' for field in table.schema().fields)
    return QueryBuilder().register("rows", table).execute(f"SELECT {columns} FROM rows")  # noqa: S608
