"""How far a consumer is: the newest event of each partition up to which it has dealt with every one."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.state import row_safe
from shared.tables import Conflict, Create, Delete, Entity, Replace, Table

__all__ = ["Position", "Positions"]

_TRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Every event of a partition up to this one was applied or dead-lettered.

    Attributes
    ----------
    sequence:
        Its sequence number; one less than the first one's where nothing was applied yet.
    log:
        The identity of the log that the number is of.
    etag:
        Version of the stored row.
    """

    sequence: int
    log: str
    etag: str | None = None


class Positions:
    """The rows of one consumer group of one hub, a row for each partition.

    Instances may write at once, as when a partition moves between them: a position never goes back.
    """

    def __init__(self, table: Table, *, hub: str, group: str) -> None:
        self._table = table
        self._consumer = row_safe(f"{hub}:{group}".lower())

    async def get(self, partition: str) -> Position | None:
        """Where the consumer is; None where nobody knows."""
        row = await self._table.get(self._consumer, partition)
        return None if row is None else _position(row)

    async def advance(self, partition: str, position: Position, sequence: int) -> Position:
        """Have everything up to `sequence` count as dealt with; what comes back is what is stored then.

        `position` is what was known before. Where another instance was faster, and further, its position stands.
        """
        wanted = replace(position, sequence=sequence)
        for _ in range(_TRIES):
            row = self._row(partition, wanted)
            try:
                etags = await self._table.submit([Create(row) if wanted.etag is None else Replace(row, wanted.etag)])
                return replace(wanted, etag=etags[0])
            except Conflict:
                stored = await self.get(partition)
                if stored is not None and (stored.log, stored.sequence) >= (wanted.log, wanted.sequence):
                    return stored
                wanted = replace(wanted, etag=None if stored is None else stored.etag)
        raise TimeoutError(f"the position in partition {partition} keeps changing")

    async def forget(self, partitions: Iterable[str]) -> None:
        """Have nobody know where the consumer was: it is no more."""
        for partition in partitions:
            with suppress(Conflict):  # there is none
                await self._table.submit([Delete({"PartitionKey": self._consumer, "RowKey": partition})])

    def _row(self, partition: str, position: Position) -> dict[str, object]:
        return {
            "PartitionKey": self._consumer,
            "RowKey": partition,
            "sequence": position.sequence,
            "log": position.log,
        }

    async def close(self) -> None:
        """Close the table's HTTP sessions."""
        await self._table.close()


def _position(row: Entity) -> Position:
    return Position(sequence=int(row["sequence"]), log=row["log"], etag=row.etag)
