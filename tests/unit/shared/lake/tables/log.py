"""A log of numbered events in two partitions, and tables on a disk that the events are committed to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from arro3.core import DataType, Field, Schema, Table
from arro3.io import read_json

from shared.lake.tables import Advance, Committer, LakeStore, LakeUnavailable, Layer

T = TypeVar("T")

SCHEMA = Schema(
    [
        Field("partition", DataType.string(), nullable=True),
        Field("sequence", DataType.int64(), nullable=True),
    ]
)


def rows_of(events: Sequence[tuple[str, int]]) -> Table:
    """The rows of events: their partition and number."""
    lines = "\n".join(json.dumps({"partition": partition, "sequence": number}) for partition, number in events)
    return read_json(io.BytesIO(lines.encode()), SCHEMA).read_all()


def batch(partition: str, after: int | None, count: int) -> tuple[Table, list[Advance]]:
    """The next events of a partition, and the step of its watermark."""
    first = (after or 0) + 1
    return rows_of([(partition, number) for number in range(first, first + count)]), [
        Advance(partition, after, first + count - 1)
    ]


async def no_options() -> dict[str, str]:
    """A folder needs none."""
    return {}


async def no_sleep(_: float) -> None:
    """Time passes by itself."""


class FaultyStore(LakeStore):
    """A store of a folder whose writes fail as they are told: before they are done, or after.

    Attributes
    ----------
    faults:
        For the next writes in turn: `before`, `after`, or anything else for none.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), no_options)
        self.faults: list[str] = []

    async def run(self, layer: Layer, name: str, call: Callable[..., T], *arguments: Any) -> T:
        fault = self.faults.pop(0) if self.faults and call.__name__ in ("_write", "_overwrite") else ""
        if fault == "before":
            raise LakeUnavailable(f"{layer}.{name}", "the link broke before")
        found = await super().run(layer, name, call, *arguments)
        if fault == "after":
            raise LakeUnavailable(f"{layer}.{name}", "the link broke after")
        return found


def committer(store: LakeStore, name: str = "events") -> Committer:
    """A committer of a table of events, with a handle that isn't opened yet."""
    return Committer(store, Layer.SILVER, name, SCHEMA, sleep=no_sleep, random=lambda: 0.0)


async def stored(store: LakeStore, name: str = "events") -> list[tuple[str, int]]:
    """The events that a table holds, in order."""
    from deltalake import QueryBuilder

    table = await store.open(Layer.SILVER, name)
    found = QueryBuilder().register("events", table).execute("select partition, sequence from events").read_all()
    return sorted(zip(found["partition"].to_pylist(), found["sequence"].to_pylist(), strict=True))
