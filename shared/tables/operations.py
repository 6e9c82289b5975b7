"""What is asked of a table: operations of a transaction, and queries, as values that say nothing of a store's SDK.

Limits from "Understanding the Table service data model" and "Performing entity group transactions".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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
    "Upsert",
    "etag_of",
]

MAX_OPERATIONS = 100
"""Operations in one transaction."""

Columns = Mapping[str, Any]


class Entity(dict[str, Any]):
    """A stored row: its columns, and beside them the version that the store gave it."""

    __slots__ = ("etag",)

    def __init__(self, columns: Columns, etag: str | None) -> None:
        super().__init__(columns)
        self.etag = etag


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
