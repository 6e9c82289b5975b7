"""The seam to every table: what a store of rows must do, whoever it is, and what it is asked, as values.

Limits from "Understanding the Table service data model" and "Performing entity group transactions".
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

__all__ = [
    "MAX_OPERATIONS",
    "Condition",
    "Conflict",
    "Create",
    "Delete",
    "Entity",
    "Operation",
    "Query",
    "Replace",
    "Rows",
    "Table",
    "Upsert",
    "again_on_conflict",
    "etag_of",
]

T = TypeVar("T")


MAX_OPERATIONS = 100
"""Operations in one transaction."""

Columns = Mapping[str, Any]


class Entity(dict[str, Any]):
    """A stored row: its columns, and beside them the version that the store gave it, and when.

    Attributes
    ----------
    modified:
        When it was written last, by the store's clock; None where the columns that were asked for don't tell.
    """

    __slots__ = ("etag", "modified")

    def __init__(self, columns: Columns, etag: str | None, modified: datetime | None = None) -> None:
        super().__init__(columns)
        self.etag = etag
        self.modified = modified


def etag_of(row: Columns) -> str | None:
    """The version of a row that was read; None for one that never was stored."""
    return row.etag if isinstance(row, Entity) else None


class Conflict(Exception):
    """A transaction met a row that it didn't expect; nothing of it was written.

    Attributes
    ----------
    row_key:
        The row of the operation that failed, where the store says which.
    """

    def __init__(self, row_key: str | None) -> None:
        super().__init__(f"conflict at {row_key}")
        self.row_key = row_key


class Create(NamedTuple):
    """Write a new row; a conflict where there is one."""

    row: Columns


class Replace(NamedTuple):
    """Write a row over the version with this ETag, which must be one; a conflict where it has changed or gone."""

    row: Columns
    etag: str | None


class Upsert(NamedTuple):
    """Write a row, whatever was there."""

    row: Columns


class Delete(NamedTuple):
    """Delete a row; a conflict where it is gone, or another version than the one with this ETag, if there is one."""

    row: Columns
    etag: str | None = None


Operation = Create | Replace | Upsert | Delete


class Condition(NamedTuple):
    """What a column must be; a row without the column never fits. `in` takes several values."""

    column: str
    operator: Literal["eq", "ne", "lt", "le", "gt", "ge", "in"]
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Rows in the order of partition and row key.

    Attributes
    ----------
    partition:
        The only partition that is read; None reads all.
    first, end:
        The least row key, and the first one that is too great.
    where:
        All must hold. The store scans what the keys leave, so give the keys where they are known.
    select:
        The columns that are wanted, all where none is named; the ETag is always there.
    size:
        Rows of one request; None leaves that to the store.
    """

    partition: str | None = None
    first: str | None = None
    end: str | None = None
    where: Sequence[Condition] = ()
    select: Sequence[str] = ()
    size: int | None = None

    def conditions(self) -> list[Condition]:
        """Keys and columns alike."""
        keys = (("PartitionKey", "eq", self.partition), ("RowKey", "ge", self.first), ("RowKey", "lt", self.end))
        return [*(Condition(*one) for one in keys if one[2] is not None), *self.where]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a query, and where the next ones begin; `next` is None at the end."""

    rows: list[Entity]
    next: Mapping[str, str] | None


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
