"""What is in the lake: its tables with rows, files and freshness, and up to where each has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions.composition import Composition
from functions.composition.bronze import bronze_reader
from functions.composition.lake import lake_store
from functions.composition.silver import event_log, silver_ingest, silver_lines
from shared.lake.bronze import Completeness, completeness
from shared.lake.silver import UNREADABLE
from shared.lake.tables import LakeStore, Layer, TableMissing

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["LakeStatus", "PartitionStatus", "TableStatus", "lake_status"]

PartitionStatus = Completeness


@dataclass(frozen=True, slots=True)
class TableStatus:
    """A table, or that it isn't there yet: then its figures are None.

    Attributes
    ----------
    written_at:
        When its newest file was written.
    watermark:
        By application id of its commits, how far it has come: of a silver table by partition of the hub the last
        sequence number, of a gold one by source the version that it was computed from.
    """

    layer: Layer
    name: str
    rows: int | None = None
    files: int | None = None
    size: int | None = None
    version: int | None = None
    written_at: datetime | None = None
    watermark: dict[str, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "layer": self.layer.value,
            "table": self.name,
            "rows": self.rows,
            "files": self.files,
            "bytes": self.size,
            "version": self.version,
            "writtenAt": self.written_at and self.written_at.isoformat(),
            "watermark": self.watermark,
        }


@dataclass(frozen=True, slots=True)
class LakeStatus:
    """Everything: what bronze has of each partition of the hub, and the tables of the other layers."""

    bronze: Sequence[PartitionStatus]
    tables: Sequence[TableStatus]

    @property
    def problems(self) -> list[str]:
        """What an operator has to do something about, each in a sentence."""
        found = []
        for one in self.bronze:
            for gap in one.gaps:
                found.append(f"bronze has no events {gap.first} to {gap.last} of partition {one.partition}")
            for file in one.corrupt:
                found.append(f"bronze: {file}")
        for table in self.tables:
            if table.layer is Layer.QUARANTINE and table.rows:
                found.append(f"{table.rows} events of {table.name} are in quarantine, with the reason of each")
        return found

    @property
    def is_whole(self) -> bool:
        """Nothing is missing, corrupt or in quarantine; what is only behind isn't wrong."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "bronze": [
                {
                    "partition": one.partition,
                    "events": one.events,
                    "files": one.files,
                    "first": one.first,
                    "last": one.last,
                    "behind": one.behind,
                    "gaps": [[gap.first, gap.last] for gap in one.gaps],
                    "overlaps": one.overlaps,
                    "corrupt": [str(file) for file in one.corrupt],
                }
                for one in self.bronze
            ],
            "tables": [one.as_json() for one in self.tables],
            "problems": self.problems,
        }


async def lake_status(composition: Composition) -> LakeStatus:
    """How all of the lake is.

    Raises
    ------
    LakeUnavailable, BronzeUnavailable, LogUnavailable
    """
    hub = composition.get(event_log)
    bronze = await completeness(composition.get(bronze_reader), hub)
    store = composition.get(lake_store)
    ingest = await silver_ingest(composition)
    silver = [ingest.app_id(one.partition) for one in bronze]
    wanted: list[tuple[Layer, str, Sequence[str]]] = []
    for line in composition.get(silver_lines):
        wanted += [(Layer.SILVER, table.name, silver) for table in line.tables]
    wanted += [
        (Layer.GOLD, one.name, [f"silver/{each.table}" for each in one.sources]) for one in composition.registry.golds
    ]
    wanted += [(Layer.QUARANTINE, line.quarantine, ()) for line in composition.get(silver_lines)]
    wanted.append((Layer.QUARANTINE, UNREADABLE, ()))
    return LakeStatus(bronze, [await _status_of(store, *one) for one in wanted])


async def _status_of(store: LakeStore, layer: Layer, name: str, app_ids: Sequence[str]) -> TableStatus:
    """How a table is.

    Raises
    ------
    LakeUnavailable
    """
    try:
        table = await store.open(layer, name)
    except TableMissing:
        return TableStatus(layer, name)
    return await store.run(layer, name, _status, table, layer, name, app_ids)


def _status(table: DeltaTable, layer: Layer, name: str, app_ids: Sequence[str]) -> TableStatus:
    files = table.get_add_actions(flatten=True)
    times = [one for one in files["modification_time"].to_pylist() if one is not None] if files.num_rows else []
    newest = max(times, default=None)
    marks = {app_id: table.transaction_version(app_id) for app_id in app_ids}
    return TableStatus(
        layer,
        name,
        rows=table.count(),
        files=files.num_rows,
        size=sum(files["size_bytes"].to_pylist()) if files.num_rows else 0,
        version=table.version(),
        written_at=None if newest is None else datetime.fromtimestamp(newest / 1_000, UTC),
        watermark={app_id: mark for app_id, mark in marks.items() if mark is not None},
    )
