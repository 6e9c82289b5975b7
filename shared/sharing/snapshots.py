"""A Delta table at one version, as a share shows it: its metadata and its files, read by the Delta library.

Everything here blocks: it is called in a thread.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from shared.classification import Classification
from shared.datasets import ColumnLevel, declared_level, levels_in

from .errors import NotAllowed, NotReadable
from .predicates import ColumnRange

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["SharedFile", "Snapshot", "check_schema", "read_snapshot", "require_shareable"]

_READABLE = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "checkConstraints", "invariants"})
"""Features that change nothing for who reads the files alone."""
_CHANGES = "delta.enableChangeDataFeed"
_RETENTION = "delta.deletedFileRetentionDuration"
_RETAINED = timedelta(days=7)
_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A Parquet file of a table.

    Attributes
    ----------
    path:
        The blob's name, from the table's folder.
    stats:
        What the log says of its columns, as JSON; None where it says nothing.
    columns:
        The same for predicates, by names in lower case.
    """

    path: str
    size: int
    partition: Mapping[str, str | None]
    rows: int | None
    stats: str | None
    columns: Mapping[str, ColumnRange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A table at a version; `files` is empty where only the metadata was asked for.

    Attributes
    ----------
    schemas:
        As the table is now, and last as it was then: what is withheld now isn't shown as it was before either.
    unreadable:
        Features without which nobody can read it from its files.
    """

    version: int
    id: str
    name: str | None
    description: str | None
    schemas: tuple[str, ...]
    partitions: Sequence[str]
    configuration: Mapping[str, str]
    unreadable: tuple[str, ...]
    files: Sequence[SharedFile]
    size: int
    count: int

    @property
    def has_change_feed(self) -> bool:
        """Whether commits that rewrite rows say which rows they changed."""
        return self.configuration.get(_CHANGES, "").lower() == "true"

    @property
    def retained(self) -> timedelta:
        """How long a file stays that a later version doesn't have any more."""
        words = self.configuration.get(_RETENTION, "").lower().removeprefix("interval ").split()
        if len(words) != 2 or not words[0].isdigit() or words[1].rstrip("s") not in _UNITS:
            return _RETAINED
        return timedelta(seconds=int(words[0]) * _UNITS[words[1].rstrip("s")])

    @property
    def schema(self) -> str:
        """The columns at this version, as the log has them: Delta's JSON."""
        return self.schemas[-1]

    def types(self) -> dict[str, str]:
        """The types of the columns that have a simple one, by names in lower case."""
        fields = json.loads(self.schema)["fields"]
        return {one["name"].lower(): one["type"] for one in fields if isinstance(one["type"], str)}


def read_snapshot(table: "DeltaTable", version: int | None = None, *, files: bool = True) -> Snapshot:
    """An opened table as it is, or as it was at a version; the handle is at that version then."""
    schemas = [table.schema().to_json()]
    if version is not None and version != table.version():
        table.load_as_version(version)
        schemas.append(table.schema().to_json())
    about, actions = table.metadata(), _actions(table)
    unreadable = set(table.protocol().reader_features or ()) - _READABLE
    if about.configuration.get("delta.columnMapping.mode", "none") != "none":
        unreadable.add("columnMapping")
    return Snapshot(
        version=table.version(),
        id=str(about.id),
        name=about.name,
        description=about.description,
        schemas=tuple(schemas),
        partitions=list(about.partition_columns),
        configuration=dict(about.configuration),
        unreadable=tuple(sorted(unreadable)),
        files=[_file(one, about.partition_columns) for one in sorted(actions, key=_path)] if files else [],
        size=sum(one["size_bytes"] for one in actions),
        count=len(actions),
    )


def require_shareable(snapshot: Snapshot, level: Classification, of_column: ColumnLevel = declared_level) -> None:
    """Raise NotReadable or NotAllowed unless the files of a table can be handed out for this level.

    Parameters
    ----------
    of_column:
        How sensitive a column of the table is; those within a column say it in their metadata alone.
    """
    if snapshot.unreadable:
        raise NotReadable(f"The table has {', '.join(snapshot.unreadable)}: it can't be shared as Parquet files.")
    for schema in snapshot.schemas:
        check_schema(schema, level, of_column)


def check_schema(schema: str, level: Classification, of_column: ColumnLevel = declared_level) -> None:
    """Raise NotAllowed where a schema has columns above a level: a file is read whole or not at all."""
    hidden = sorted({path for path, found in levels_in(json.loads(schema), of_column) if found > level})
    if hidden:
        raise NotAllowed(
            f"The table holds columns that this recipient's role may not see: {', '.join(hidden[:20])}. "
            "A file can't be shared without them."
        )


def _actions(table: "DeltaTable") -> list[dict[str, Any]]:
    from arro3.core import Table

    found: Table = Table.from_arrow(table.get_add_actions(flatten=False))
    return list(found.to_struct_array().to_pylist()) if found.num_rows else []


def _path(action: Mapping[str, Any]) -> str:
    return str(action["path"])


def _file(action: Mapping[str, Any], partitioned_by: Sequence[str]) -> SharedFile:
    values = action.get("partition") or {}
    rows, low, high, nulls = (action.get(name) for name in ("num_records", "min", "max", "null_count"))
    low, high, nulls = low or {}, high or {}, nulls or {}
    stats = {"numRecords": rows, "minValues": _known(low), "maxValues": _known(high), "nullCount": _known(nulls)}
    columns = {
        name.lower(): ColumnRange(low.get(name), high.get(name), nulls.get(name), rows)
        for name in {*low, *high, *nulls}
        if not isinstance(nulls.get(name), dict)
    }
    for name in partitioned_by:
        value = values.get(name)
        columns[name.lower()] = (
            ColumnRange(nulls=rows, rows=rows) if value is None else ColumnRange(value, value, 0, rows, exact=True)
        )
    return SharedFile(
        path=unquote(_path(action)),
        size=action["size_bytes"],
        partition={name: _text(values.get(name)) for name in partitioned_by},
        rows=rows,
        stats=None if rows is None else json.dumps(stats, default=_text, separators=(",", ":")),
        columns=columns,
    )


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is known, with numbers as numbers: Delta's own form of statistics."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found[name] = _known(value)
        elif isinstance(value, Decimal):
            if len(value.as_tuple().digits) <= sys.float_info.dig:  # else the number would be another
                found[name] = float(value)
        elif value is not None and not isinstance(value, bytes):
            found[name] = value
    return found


def _text(value: Any) -> str | None:
    """A value as the Delta protocol writes partition values ("Partition Value Serialization")."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case datetime():
            return value.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if value.tzinfo is not None else "")
        case date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return str(value)
