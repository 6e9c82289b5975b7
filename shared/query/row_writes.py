"""What is written for a row of a view in one transaction: the row, what leads to it, what counts it, and its grave."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from shared.privacy import EncryptedModel
from shared.state import bucket_of, pack, row_safe, unpack
from shared.tables import MAX_OPERATIONS, Create, Delete, Entity, Operation, Replace, Upsert

from .indexes import ViewIndexes

__all__ = [
    "DECLARATION",
    "TOKEN_ENTRY",
    "ViewChange",
    "ViewRow",
    "Written",
    "groups",
    "lines",
    "partition_of",
    "partitions_of",
    "tombstone_key",
    "written_again",
]

_SHARDS = 16
_GROUP = 50
_GROUP_BYTES = 1024 * 1024
"""Characters and bytes of values: three bytes each on the wire still fit the 4 MiB of a transaction."""
DECLARATION = "declaration"
"""Column of a row: the declaration by which it is indexed; without it, entries that it doesn't list may lead to it."""
_TOMBSTONE = "%3A%3D"
TOKEN_ENTRY = "%3A"  # noqa: S105
"""How the row keys of the index begin: never a row's own, since `row_safe` doesn't encode a colon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRow:
    """One row of a view; `value` is its JSON, with protected fields encrypted.

    Attributes
    ----------
    tokens:
        By JSON name the tokens under which the row is found.
    """

    view: str
    key: str
    value: str
    event_id: str
    sequence: int
    tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewChange:
    """An event of a view whose rows depend on what they were.

    Attributes
    ----------
    apply:
        From the row's JSON, None where there is no row, to what it is after the event, None to delete it.
    """

    view: str
    key: str
    event_id: str
    sequence: int
    apply: Callable[[str | None], Awaitable[EncryptedModel | None]]


def tombstone_key(key: str) -> str:
    """Row that says by which event a key's row was deleted, so that an event before it doesn't bring it back."""
    return f"{_TOMBSTONE}{row_safe(key)}"


def partitions_of(place: str) -> list[str]:
    """The partitions of a view, by the name under which its rows lie."""
    return [f"{place}:{shard:02d}" for shard in range(_SHARDS)]


def partition_of(place: str, key: str) -> str:
    """The one in which a key's row lies."""
    return f"{place}:{bucket_of(key, _SHARDS):02d}"


@dataclass(frozen=True, slots=True)
class Written:
    """A row, and the row keys of its index entries and of the counters that count it.

    Attributes
    ----------
    moves:
        Index rows, counters and tombstone that it may have had before.
    is_gone:
        The row is to be deleted; its value is empty.
    """

    partition: str
    row: ViewRow
    entries: Sequence[str]
    counters: Sequence[str]
    declaration: str | None
    moves: int = 0
    is_gone: bool = False

    @property
    def writes(self) -> int:
        """Operations at most, without those on the counters of `counters`: a later event moves what was there."""
        return 1 + len(self.row.tokens) + len(self.entries) + self.moves

    def operations(self, stored: Entity | None, tombstone: Entity | None, counted: Counter[str]) -> list[Operation]:
        """What makes of what is stored what is to be; nothing where a newer event has been there."""
        last = max((int(one.get("sequence", 0)) for one in (stored, tombstone) if one is not None), default=-1)
        if self.row.sequence <= last:
            return []
        found: list[Operation] = []
        if self.is_gone:
            grave = {**self._keys(tombstone_key(self.row.key)), "sequence": self.row.sequence}
            found.append(Create(grave) if tombstone is None else Replace(grave, tombstone.etag))
            if stored is not None:
                found.append(Delete(self._keys(row_safe(self.row.key)), stored.etag))
        elif stored is None:
            found.append(Create(self.columns()))
            if tombstone is not None:
                found.append(Delete(self._keys(tombstone_key(self.row.key)), tombstone.etag))
        else:
            found.append(Replace(self.columns(known=DECLARATION in stored), stored.etag))
        return [*found, *map(Upsert, self.token_entries()), *self.moved(stored, counted)]

    def _keys(self, row_key: str) -> dict[str, Any]:
        return {"PartitionKey": self.partition, "RowKey": row_key}

    def columns(self, *, known: bool = True) -> dict[str, Any]:
        """The row itself; it lists its entries, so that whoever changes it finds them.

        Parameters
        ----------
        known:
            Whether nothing but its entries leads to it. It is unknown behind a release that keeps no indexes.
        """
        columns = _entity(self.row, self.partition)
        if self.declaration is not None:
            columns |= {"indexed": "\n".join(self.entries), "counted": "\n".join(self.counters)}
            columns |= {DECLARATION: self.declaration} if known else {}
        return columns

    def moved(
        self, stored: Entity | None, counted: Counter[str], before: Sequence[str] | None = None
    ) -> list[Operation]:
        """The index entries to write and to delete, of those that the row had; tells the counters."""
        before = lines(stored, "indexed") if before is None else before
        counters, old = set(self.counters), set(lines(stored, "counted"))
        counted.update(counters - old)
        counted.subtract(old - counters)
        partition = self.partition
        own = [{"PartitionKey": partition, "RowKey": one} for one in self.entries if one not in before]
        gone = [{"PartitionKey": partition, "RowKey": one} for one in sorted(set(before) - set(self.entries))]
        return [*(Upsert({**one, "key": self.row.key}) for one in own), *(Delete(one) for one in gone)]

    def token_entries(self) -> list[dict[str, Any]]:
        """The rows that lead to it by its tokens: beside the row itself, so that one transaction writes them."""
        key = row_safe(self.row.key)
        return [
            {
                "PartitionKey": self.partition,
                "RowKey": f"{TOKEN_ENTRY}{name}:{token}:{key}",
                "key": self.row.key,
                "sequence": self.row.sequence,
            }
            for name, token in self.row.tokens.items()
        ]


def lines(row: Entity | None, column: str) -> list[str]:
    """A column that lists row keys."""
    return [] if row is None else [one for one in str(row.get(column, "")).split("\n") if one]


def written_again(declared: ViewIndexes, stored: Entity) -> Written:
    """A stored row as it is written by what is declared now."""
    row = ViewRow(
        view=declared.view,
        key=stored["key"],
        value=unpack(stored),
        event_id=stored["eventId"],
        sequence=int(stored["sequence"]),
    )
    entries, counters = declared.entries(from_json(row.value), row.key)
    return Written(stored["PartitionKey"], row, entries, counters, declared.declaration)


def groups(rows: Sequence[Written]) -> list[list[Written]]:
    """Rows of one partition by transactions that the store takes."""
    found: list[list[Written]] = []
    size = operations = 0
    counters: set[str] = set()
    for one in rows:
        more = 2 * len(one.row.value)
        writes = one.writes + len(counters.union(one.counters)) - len(counters)
        full = found and (len(found[-1]) == _GROUP or operations + writes > MAX_OPERATIONS)
        if not found or full or size + more > _GROUP_BYTES:
            found.append([])
            size = operations = 0
            counters = set()
            writes = one.writes + len(one.counters)
        found[-1].append(one)
        size += more
        operations += writes
        counters.update(one.counters)
    return found


def _entity(row: ViewRow, partition: str) -> dict[str, Any]:
    return {
        "PartitionKey": partition,
        "RowKey": row_safe(row.key),
        "key": row.key,
        "eventId": row.event_id,
        "sequence": row.sequence,
        **pack(row.value),
    }
