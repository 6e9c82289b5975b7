"""Commits rows exactly once: rows and the watermarks up to which they go are one commit of the Delta table.

The library's application transactions are the fence. It has two holes: any commit on a handle brings the handle up to
date, after which it may commit what another writer has committed already; and it never compares a watermark with the
one that is stored. So each commit carries, beside the watermarks of its partitions, the number of the commit among all
those of committers: of two committers that are at the same one, one is refused, whatever partitions they have. And only
a watermark that stands where the rows begin is moved, forward. Maintenance commits on handles of its own.
"""

import asyncio
import random as random_numbers
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.telemetry import log_event

from .errors import CommitConflict, LakeUnavailable, VersionMissing, WatermarkMoved
from .store import LakeStore, Layer

if TYPE_CHECKING:
    from arro3.core import Schema, Table
    from arro3.core.types import ArrowStreamExportable
    from deltalake import CommitProperties, DeltaTable

__all__ = ["Advance", "Committer"]

COUNT = "sluice"
"""The application id under which commits are counted."""
_TRIES = 8
_BASE, _CAP = 0.1, 5.0
"""Seconds: a delay is drawn from half of its bound to the whole, which doubles."""


@dataclass(frozen=True, slots=True)
class Advance:
    """A step of a watermark: the rows hold everything after one number up to another.

    Attributes
    ----------
    app_id:
        Names the partition, for example `events/3`.
    after:
        Where the watermark has to stand; None where there is none yet.
    upto:
        Where it stands then: above `after`, below 2^63.
    """

    app_id: str
    after: int | None
    upto: int

    def __post_init__(self) -> None:
        if self.app_id == COUNT:
            raise ValueError(f"the application id {COUNT!r} counts commits")
        if not 0 <= self.upto < 2**63 or (self.after is not None and self.upto <= self.after):
            raise ValueError(f"the watermark of {self.app_id} can't go from {self.after} to {self.upto}")


class Committer:
    """One handle of one table, which does nothing but commit.

    Parameters
    ----------
    schema, partition_by, configuration:
        Of the table, which is made unless it is there.
    random:
        A number from 0 to 1, for the delays between tries.
    """

    def __init__(
        self,
        store: LakeStore,
        layer: Layer,
        name: str,
        schema: "Schema",
        *,
        partition_by: Sequence[str] = (),
        configuration: Mapping[str, str] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._store = store
        self._layer = layer
        self._name = name
        self._schema = schema
        self._partition_by = tuple(partition_by)
        self._configuration = configuration
        self._sleep = sleep
        self._random = random
        self._table: DeltaTable | None = None
        self._known: dict[str, int | None] = {}
        self._known_at = -1

    async def table(self) -> "DeltaTable":
        """The handle, to be read from alone; it is at the version to which the next commit is added.

        Raises
        ------
        IncompatibleSchema, LakeUnavailable
        """
        if self._table is None:
            self._table = await self._store.create(
                self._layer,
                self._name,
                self._schema,
                partition_by=self._partition_by,
                configuration=self._configuration,
            )
        return self._table

    async def watermarks(self, app_ids: Sequence[str]) -> dict[str, int | None]:
        """Up to where the table holds everything, at the version of its handle.

        Raises
        ------
        IncompatibleSchema, LakeUnavailable
        """
        try:
            return await self._read_watermarks(app_ids)
        except VersionMissing:  # the log doesn't reach back to the handle any more
            self._table = None
            return await self._read_watermarks(app_ids)

    async def _read_watermarks(self, app_ids: Sequence[str]) -> dict[str, int | None]:
        table = await self.table()
        known = self._known if self._known_at == table.version() else {}
        if unknown := [one for one in (COUNT, *app_ids) if one not in known]:
            known |= await self._store.run(self._layer, self._name, _watermarks, table, unknown)
            self._known, self._known_at = known, table.version()
        return {one: known[one] for one in app_ids}

    async def append(self, rows: "Table", advances: Sequence[Advance]) -> int:
        """Add rows and move watermarks, in one commit; returns the version of the table.

        A commit whose answer was lost is found by its watermarks, and not done again.

        Raises
        ------
        WatermarkMoved
            Somebody else has committed: the rows are to be made anew, from where the watermarks stand now.
        IncompatibleSchema, LakeUnavailable, CommitConflict, VersionMissing
            Nothing was committed, unless the store's answer was lost to the end. Either way the next call finds out.
        """
        if not advances:
            raise ValueError("rows are committed with the watermarks up to which they go")
        for attempt in range(_TRIES):
            try:
                return await self._try(rows, advances)
            except (LakeUnavailable, CommitConflict, VersionMissing) as error:
                self._table = None  # what it holds is old, or unknown
                if attempt + 1 == _TRIES:
                    raise
                log_event("a commit to the lake is tried again", table=error.table, reason=error.reason)
                await self._sleep(min(_CAP, _BASE * 2**attempt) * (1 + self._random()) / 2)
            except BaseException:
                self._table = None  # whoever was cancelled doesn't know either
                raise
        raise AssertionError("unreachable")

    async def replace(
        self,
        rows: Callable[[], "ArrowStreamExportable"],
        watermarks: Mapping[str, int],
        *,
        after: Mapping[str, int | None],
    ) -> int:
        """Put other rows, and watermarks, in the place of all that are there, in one commit; returns the version.

        Parameters
        ----------
        rows:
            Gives all rows, once for each try; what it gives may be read as it is written.
        watermarks:
            Where those of the rows stand; they may be lower than what is stored.
        after:
            Where the stored ones have to stand.

        Raises
        ------
        WatermarkMoved
            They don't: somebody else has committed. Nothing was replaced.
        IncompatibleSchema, LakeUnavailable, CommitConflict
        """
        stored = await self.watermarks([COUNT, *after])
        count = stored.pop(COUNT)
        if stored != dict(after):
            raise WatermarkMoved(f"{self._layer}.{self._name}", stored)
        table = await self.table()
        try:
            transactions = {COUNT: (count or 0) + 1, **watermarks}
            await self._store.run(self._layer, self._name, _overwrite, table, rows, transactions)
            return self._committed(table, stored | transactions)
        except BaseException:
            self._table = None
            raise

    async def _try(self, rows: "Table", advances: Sequence[Advance]) -> int:
        stored = await self.watermarks([COUNT, *(one.app_id for one in advances)])
        table = await self.table()
        count = stored.pop(COUNT)
        if all(stored[one.app_id] == one.upto for one in advances):
            return table.version()
        if any(stored[one.app_id] != one.after for one in advances):
            raise WatermarkMoved(f"{self._layer}.{self._name}", stored)
        transactions = {COUNT: (count or 0) + 1, **{one.app_id: one.upto for one in advances}}
        await self._store.run(self._layer, self._name, _write, table, rows, transactions)
        return self._committed(table, stored | transactions)

    def _committed(self, table: "DeltaTable", marks: Mapping[str, int | None]) -> int:
        """The version of the handle, which the commit has moved; the watermarks there are known without a look.

        No other committer's commit lies between: it would have had the same number as ours.
        """
        self._known, self._known_at = {**self._known, **marks}, table.version()
        return self._known_at


def _watermarks(table: "DeltaTable", app_ids: Sequence[str]) -> dict[str, int | None]:
    return {app_id: table.transaction_version(app_id) for app_id in app_ids}


def _write(table: "DeltaTable", rows: "Table", transactions: Mapping[str, int]) -> None:
    from deltalake import write_deltalake

    write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=_with(transactions))


def _overwrite(
    table: "DeltaTable", rows: Callable[[], "ArrowStreamExportable"], transactions: Mapping[str, int]
) -> None:
    from deltalake import write_deltalake

    write_deltalake(table, rows(), mode="overwrite", schema_mode="overwrite", commit_properties=_with(transactions))


def _with(transactions: Mapping[str, int]) -> "CommitProperties":
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(*one) for one in transactions.items()])
