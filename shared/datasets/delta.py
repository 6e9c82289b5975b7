"""Versions of Delta tables, as the lake's store opens them."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from shared.classification import Classification
from shared.lake.tables import LakeError, LakeStore, LakeUnavailable, Layer, TableMissing, VersionMissing
from shared.query import Kind

from .columns import Column, ColumnLevel, column_of, levels_in
from .errors import NoSuchDataset, Unreachable, Unreadable, VersionGone
from .snapshots import Changes, DataFile, Snapshot

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["DeltaTables", "commit_path", "parse_changes"]

_READ_FEATURES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
"""Of the protocol's reader features those that change nothing in how a file's rows are read."""
_LOG_NAME = "{:020d}.json"


class DeltaTables:
    """Opens tables.

    Parameters
    ----------
    level, owner:
        From a layer and a table's name to what tells how sensitive a column's values are, and to whose it is.
    """

    def __init__(
        self, store: LakeStore, level: Callable[[str, str], ColumnLevel], owner: Callable[[str, str], str]
    ) -> None:
        self._store = store
        self._level = level
        self._owner = owner

    async def snapshot(
        self, layer: Layer, name: str, as_of: int | datetime | None = None, *, since: int | None = None
    ) -> Snapshot:
        """The newest version, or the one that was it at a moment.

        What is sensitive in the newest version is so in an older one too: its files are the older ones' in part.

        Parameters
        ----------
        since:
            A version whose rows are compared with this one's: its columns are as sensitive as they were then, too.

        Raises
        ------
        NoSuchDataset, VersionGone, Unreadable, Unreachable
        """
        try:
            table = await self._store.open(layer, name)
            newest = table.version()
            if as_of is None or as_of == newest:
                earlier = await self._earlier(layer, name, since, newest)
                return _checked(await self._store.run(layer, name, self._read, layer, name, table, None, earlier))
            if isinstance(as_of, int) and as_of > newest:  # the library looks for it for very long
                raise VersionGone(f"asOf: there is no version {as_of} of {layer}/{name} yet; the newest is {newest}.")
            written: dict[int, int] = {}
            if isinstance(as_of, datetime):
                history = await self._store.run(layer, name, table.history)
                written = {one["version"]: int(one["timestamp"]) for one in history}
                as_of = _at(as_of, written)
                if as_of is None:
                    there = f"{min(written)} to {newest}"
                    raise VersionGone(f"asOf: the log of {layer}/{name} has only the versions from {there}.")
            older = await self._store.open(layer, name, version=as_of)
            others = [table, *await self._earlier(layer, name, since, as_of)]
            at = written.get(as_of, 0)
            return _checked(await self._store.run(layer, name, self._read, layer, name, older, at, others))
        except (TableMissing, ValueError):
            raise NoSuchDataset(f"There is no dataset {layer}/{name[:64]}.") from None
        except VersionMissing:
            option = "asOf" if since is None else "asOf or changesSince"
            raise VersionGone(f"{option}: that version of {layer}/{name} isn't there.") from None
        except LakeUnavailable as failure:
            raise Unreachable(f"{layer}/{name} can't be read just now.") from failure
        except LakeError as failure:
            raise Unreadable(f"The dataset {layer}/{name} can't be read.") from failure

    async def _earlier(self, layer: Layer, name: str, since: int | None, version: int) -> list["DeltaTable"]:
        """The version that changes are asked since; one that isn't there yet is refused where they are read."""
        return [] if since is None or since >= version else [await self._store.open(layer, name, version=since)]

    def _read(
        self, layer: Layer, name: str, table: "DeltaTable", written: int | None, others: Sequence["DeltaTable"]
    ) -> Snapshot | Unreadable:
        metadata, protocol = table.metadata(), table.protocol()
        unknown = set(protocol.reader_features or ()) - _READ_FEATURES
        mapped = metadata.configuration.get("delta.columnMapping.mode", "none") != "none"
        if unknown or mapped:
            features = ", ".join(sorted(unknown)) or "columnMapping"
            return Unreadable(f"The dataset {layer}/{name} has features that can't be read here: {features}.")
        partitions = set(metadata.partition_columns)
        level = self._level(layer, name)
        found = [column_of(one, level, partition=one["name"] in partitions) for one in _fields(table)]
        columns = {one.name: one for one in found if one is not None}
        for one in columns.values():
            if one.partition and not one.type:
                return Unreadable(
                    f"The dataset {layer}/{name} is partitioned by {one.name}, whose type isn't read here."
                )
        for other in others:
            columns = _as_sensitive(columns, other, level)
        milliseconds = table.history(1)[0]["timestamp"] if written is None else written
        return Snapshot(
            layer=str(layer),
            name=name,
            version=table.version(),
            newest=written is None,
            written=datetime.fromtimestamp(milliseconds / 1_000, UTC) if milliseconds else None,
            columns=columns,
            files=tuple(sorted(_files(table), key=lambda one: one.path)),
            owner=self._owner(layer, name),
            description=metadata.description or "",
        )


def _fields(table: "DeltaTable") -> list[dict[str, Any]]:
    return list(json.loads(table.schema().to_json())["fields"])


def _as_sensitive(columns: Mapping[str, Column], other: "DeltaTable", level: ColumnLevel) -> dict[str, Column]:
    """Columns, each at least as sensitive as another version has it; engines don't tell names by their case."""
    levels: dict[str, Classification] = {}
    for field in _fields(other):
        most = max(found for _, found in levels_in({"fields": [field]}, level))
        folded = str(field["name"]).lower()
        levels[folded] = max(most, levels.get(folded, most))
    return {
        name: replace(one, level=max(one.level, levels.get(name.lower(), one.level))) for name, one in columns.items()
    }


def _checked(found: Snapshot | Unreadable) -> Snapshot:
    """What was read; a thread of the store raises errors of the store's alone."""
    if isinstance(found, Unreadable):
        raise found
    return found


def _at(moment: datetime, written: Mapping[int, int]) -> int | None:
    """The version that was the newest at a moment, by when each was written, in milliseconds since 1970.

    The history of the newest handle tells it: that of an older one has the times of other versions.
    """
    then = moment.timestamp() * 1_000
    return max((version for version, at in written.items() if at <= then), default=None)


def _files(table: "DeltaTable") -> Iterable[DataFile]:
    from arro3.core import Table

    actions = Table.from_arrow(table.get_add_actions(flatten=True))
    names = actions.schema.names
    values = {name: actions[name].to_pylist() for name in names}
    noted = {kind: _below(kind, names) for kind in ("partition", "min", "max", "null_count")}
    for row, path in enumerate(values["path"]):

        def of(kind: str, row: int = row) -> dict[str, Any]:
            found = {name: values[full][row] for full, name in noted[kind].items()}
            if kind == "partition":
                return {name: _finite(one) for name, one in found.items()}
            return {name: one for name, one in found.items() if _is_bound(one)}

        yield DataFile(
            path=unquote(path),
            size=values["size_bytes"][row],
            rows=values["num_records"][row] if "num_records" in values else None,
            partition=of("partition"),
            low=of("min"),
            high=of("max"),
            nulls=of("null_count"),
        )


def _below(kind: str, names: Iterable[str]) -> dict[str, str]:
    return {name: name[len(kind) + 1 :] for name in names if name.startswith(f"{kind}.")}


def _finite(value: Any) -> Any:
    """A double that isn't a finite number is no value, as it is in files."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_bound(value: Any) -> bool:
    """Whether it is the value that it was: the log has decimals as doubles, which don't hold all of their digits."""
    if isinstance(value, Decimal):
        return len(value.as_tuple().digits) <= sys.float_info.dig
    return _finite(value) is not None


def commit_path(version: int) -> str:
    """Of a version's part of the log, below the table's folder."""
    return f"_delta_log/{_LOG_NAME.format(version)}"


def parse_changes(commits: Iterable[bytes], columns: Mapping[str, Column]) -> Changes:
    """What some commits, the oldest first, changed in all; a file that came and went isn't in it.

    Raises
    ------
    Unreadable
        A commit isn't what the protocol says.
    """
    added: dict[str, DataFile] = {}
    removed: dict[str, DataFile] = {}
    try:
        for commit in commits:
            actions = [json.loads(line) for line in commit.splitlines() if line.strip()]
            for action in actions:
                if (gone := action.get("remove")) is not None and gone.get("dataChange", True):
                    file = _data_file(gone, columns)
                    if added.pop(file.path, None) is None:
                        removed[file.path] = file
            for action in actions:
                if (come := action.get("add")) is not None and come.get("dataChange", True):
                    file = _data_file(come, columns)
                    if removed.pop(file.path, None) is None:
                        added[file.path] = file
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unreadable("The table's log can't be read.") from None
    return Changes(added=_by_path(added), removed=_by_path(removed))


def _by_path(files: Mapping[str, DataFile]) -> tuple[DataFile, ...]:
    return tuple(files[path] for path in sorted(files))


def _data_file(action: Mapping[str, Any], columns: Mapping[str, Column]) -> DataFile:
    if action.get("deletionVector") is not None:
        raise ValueError("deletion vectors")
    noted = action.get("partitionValues") or {}
    partition = {name: _typed(text, columns[name].kind) for name, text in noted.items() if name in columns}
    size = action.get("size")
    statistics = json.loads(action.get("stats") or "{}")
    return DataFile(
        path=unquote(action["path"]),
        size=-1 if size is None else int(size),
        rows=statistics.get("numRecords"),
        partition=partition,
    )


def _typed(text: str | None, kind: Kind) -> Any:
    """A partition's value as the log has it (Delta's protocol, "Partition Value Serialization")."""
    if text is None or text == "":
        return None
    match kind:
        case Kind.INTEGER:
            return int(text)
        case Kind.DOUBLE:
            return _finite(float(text))
        case Kind.DECIMAL:
            return Decimal(text)
        case Kind.BOOLEAN:
            return text == "true"
        case Kind.DAY:
            return date.fromisoformat(text)
        case Kind.MOMENT:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return text
