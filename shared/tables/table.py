"""The seam to every table: what a store of rows must do, whoever it is."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from .operations import Conflict, Entity, Operation, Query, Rows

__all__ = ["Table", "again_on_conflict"]

T = TypeVar("T")


class Table(Protocol):
    """A table of rows with versions. A new store is one class that passes `tests/integration/tables`."""

    name: str

    async def get(self, partition: str, row: str, *, select: Sequence[str] = ()) -> Entity | None:
        """A row, or some of its columns; None where there is none, or no table."""
        ...

    async def query(self, query: Query) -> AsyncGenerator[Entity, None]:
        """The rows that fit, in order, each page as it is when it is asked for; none where there is no table."""
        start: Mapping[str, str] | None = None
        while True:
            found = await self.page(query, start)
            for row in found.rows:
                yield row
            start = found.next
            if start is None:
                return

    async def page(self, query: Query, start: Mapping[str, str] | None = None) -> Rows:
        """Up to `query.size` of the rows from a place on; fewer, even none, may come before the end."""
        ...

    async def submit(self, operations: Sequence[Operation]) -> list[str | None]:
        """Do all operations, of one partition, or none; the table is made with its first row.

        Returns
        -------
        list[str | None]
            The new version of each row; None for one that was deleted.

        Raises
        ------
        Conflict
            A row to create is there, or one to replace or delete has changed or gone.
        TransactionFailed
            The store refuses them: too many, too large, of several partitions, a row twice, a key it can't keep.
        """
        ...

    async def ensure_created(self) -> None:
        """Have the table there."""
        ...

    async def probe(self) -> None:
        """Fail where the store can't be reached; whether the table is there doesn't matter."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


async def again_on_conflict(attempt: Callable[[], Awaitable[T]], *, subject: str, tries: int = 20) -> T:
    """Optimistic concurrency: run `attempt`, which reads, decides and submits, anew while it meets a conflict.

    Raises
    ------
    TimeoutError
        `subject` kept changing; the caller's work goes back to where it came from.
    """
    for _ in range(tries):
        try:
            return await attempt()
        except Conflict:
            continue
    raise TimeoutError(f"{subject} keeps changing")
