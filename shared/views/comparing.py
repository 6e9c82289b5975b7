"""Compares two versions of a view row by row, while events go on, without holding either."""

import hashlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from shared.encryption import ProtectionError
from shared.query import ALL_ROWS, partitions_of, place_order, tombstone_key
from shared.state import unpack
from shared.tables import Entity, Query, Table

__all__ = ["Comparison", "Mask", "compare"]

SAMPLES = 50
"""Rows whose values are compared, chosen by chance: all have the same."""
EXAMPLES = 5
_COLUMNS = ("PartitionKey", "RowKey", "key", "eventId", "sequence")
Mask = Callable[[str, str], Awaitable[bytes]]
"""From a row's key and JSON to JSON in clear."""


@dataclass(slots=True)
class Comparison:
    """What two versions of a view have in common, and what they don't.

    Attributes
    ----------
    live, other:
        Rows of each.
    live_hash, other_hash:
        Over keys and events of all their rows: where they are the same, so are the rows' events. Under live traffic
        they differ by the rows that moved meanwhile.
    missing:
        Rows of the live version that the other one lacks, and didn't delete.
    older:
        Rows whose newest event the other one doesn't know.
    more:
        Rows that the live version lacks.
    sampled, changed:
        Rows whose values were compared, and by field in how many of them the values differ.
    examples:
        Keys of the first few rows that are missing or older.
    """

    live: int = 0
    other: int = 0
    live_hash: int = 0
    other_hash: int = 0
    missing: int = 0
    older: int = 0
    more: int = 0
    sampled: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether every row of the live version is in the other one, as new as it is."""
        return self.missing == 0 and self.older == 0

    def to_json(self) -> dict[str, Any]:
        """As it is stored, and as operators see it."""
        return {
            "rows": [self.live, self.other],
            "hashes": [f"{one:032x}" for one in (self.live_hash, self.other_hash)],
            "missing": self.missing,
            "older": self.older,
            "more": self.more,
            "sampled": self.sampled,
            "changedFields": self.changed,
            "examples": self.examples,
        }


async def compare(
    table: Table, live: str, other: str, *, mask: Mask, chance: random.Random, deleted: bool
) -> Comparison:
    """Compare the rows of two places of a table; every event is applied to `other` before it is to `live`.

    Parameters
    ----------
    mask:
        Reads a row in clear, as both versions are encrypted anew.
    deleted:
        Whether rows of the view may be deleted by events.
    """
    found = Comparison()
    sample: list[tuple[str, str, str]] = []
    for partition, beside in zip(partitions_of(live), partitions_of(other), strict=True):
        async with aclosing(_rows(table, partition)) as left, aclosing(_rows(table, beside)) as right:
            await _merge(table, found, left, right, (partition, beside), sample, chance, deleted=deleted)
    for partition, beside, row_key in sample:
        await _sample(table, found, partition, beside, row_key, mask)
    return found


async def _merge(
    table: Table,
    found: Comparison,
    left: AsyncGenerator[Entity, None],
    right: AsyncGenerator[Entity, None],
    places: tuple[str, str],
    sample: list[tuple[str, str, str]],
    chance: random.Random,
    *,
    deleted: bool,
) -> None:
    partition, beside = places
    old, new = await anext(left, None), await anext(right, None)
    while old is not None or new is not None:
        order = _order(old, new)
        if order <= 0 and old is not None:
            found.live += 1
            found.live_hash ^= _hash(old)
        if order >= 0 and new is not None:
            found.other += 1
            found.other_hash ^= _hash(new)
        if order == 0 and old is not None and new is not None:
            if int(new["sequence"]) < int(old["sequence"]):
                await _look_again(table, found, old, beside, deleted=deleted)
            _choose(sample, (str(old["PartitionKey"]), beside, str(old["RowKey"])), found.live, chance)
        elif order < 0 and old is not None:
            await _look_again(table, found, old, beside, deleted=deleted)
        elif new is not None:
            found.more += 1
            if deleted:
                await _look_for_tombstone(table, found, new, partition)
        old = await anext(left, None) if order <= 0 else old
        new = await anext(right, None) if order >= 0 else new


def _order(old: Entity | None, new: Entity | None) -> int:
    if old is None or new is None:
        return 1 if old is None else -1
    left, right = place_order(str(old["RowKey"])), place_order(str(new["RowKey"]))
    return (left > right) - (left < right)


def _choose(sample: list[tuple[str, str, str]], one: tuple[str, str, str], seen: int, chance: random.Random) -> None:
    """Reservoir sampling: each of the rows seen so far is as likely to be among the samples."""
    if len(sample) < SAMPLES:
        sample.append(one)
    elif (place := chance.randrange(seen)) < SAMPLES:
        sample[place] = one


async def _look_again(table: Table, found: Comparison, old: Entity, beside: str, *, deleted: bool) -> None:
    """A row that seemed to be missing or older may have moved while the pages were read: the live one is read first."""
    row_key = str(old["RowKey"])
    now = await table.get(str(old["PartitionKey"]), row_key, select=_COLUMNS)
    if now is None:
        return
    new = await table.get(beside, row_key, select=_COLUMNS)
    if new is None and deleted:
        new = await table.get(beside, tombstone_key(str(now["key"])))
    if new is not None and int(new["sequence"]) >= int(now["sequence"]):
        return
    if new is None:
        found.missing += 1
    else:
        found.older += 1
    if len(found.examples) < EXAMPLES:
        found.examples.append(str(now["key"]))


async def _look_for_tombstone(table: Table, found: Comparison, new: Entity, partition: str) -> None:
    """A row that only the new version has is older where the live one knows a later event that deleted it."""
    gone = await table.get(partition, tombstone_key(str(new["key"])), select=_COLUMNS)
    if gone is None or int(gone["sequence"]) <= int(new["sequence"]):
        return
    found.older += 1
    if len(found.examples) < EXAMPLES:
        found.examples.append(str(new["key"]))


async def _sample(table: Table, found: Comparison, partition: str, beside: str, row_key: str, mask: Mask) -> None:
    old, new = await table.get(partition, row_key), await table.get(beside, row_key)
    if old is None or new is None or int(old["sequence"]) != int(new["sequence"]):
        return
    key = str(old["key"])
    try:
        left, right = [from_json(await mask(key, unpack(one))) for one in (old, new)]
    except ProtectionError:  # the log says so; the live version has it too
        return
    found.sampled += 1
    if not isinstance(left, dict) or not isinstance(right, dict):
        return
    nothing = object()
    for name in {*left, *right}:
        if left.get(name, nothing) != right.get(name, nothing):
            found.changed[name] = found.changed.get(name, 0) + 1


async def _rows(table: Table, partition: str) -> AsyncGenerator[Entity, None]:
    for one in ALL_ROWS:
        query = Query(partition=partition, first=one.first, end=one.end, select=_COLUMNS)
        async with aclosing(table.query(query)) as rows:
            async for row in rows:
                yield row


def _hash(row: Entity) -> int:
    text = f"{row['RowKey']}\x1f{row['eventId']}\x1f{row['sequence']}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
