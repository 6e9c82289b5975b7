"""What has happened to a Delta table since a version: read from its log, whose entries say which of them bring data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["Changes", "changes_since"]

MOST_COMMITS = 2_000
"""Of which the log is read; who is further behind reads the table."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What came between two versions.

    Attributes
    ----------
    grown:
        Rows were appended.
    least:
        The least value of a column among them; None where nothing was appended.
    """

    grown: bool = False
    least: int | None = None


def changes_since(table: DeltaTable, version: int, column: str) -> Changes | None:
    """The changes after a version, up to that of the handle; None where they are more than appended rows.

    That is: rows were removed or rewritten, the table's schema or format changed, an entry of the log is gone, an
    appended file doesn't tell its least value, or the table is at an older version.
    """
    from deltalake._internal import DeltaFileSystemHandler

    latest = table.version()
    if not 0 <= version <= latest or latest - version > MOST_COMMITS:
        return None
    files = DeltaFileSystemHandler.from_table(table._table)
    least: int | None = None
    for number in range(version + 1, latest + 1):
        try:
            file = files.open_input_file(f"_delta_log/{number:020d}.json")
            entries = file.read(file.size())
        except FileNotFoundError:
            return None
        for kind, action in _actions(entries):
            if kind in ("metaData", "protocol") or (kind == "remove" and action.get("dataChange", True)):
                return None
            if kind == "add" and action.get("dataChange", True):
                found = _least(action, column)
                if found is None:
                    return None
                least = found if least is None else min(least, found)
    return Changes(least is not None, least)


def _actions(entries: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in bytes(entries).splitlines():
        if line.strip():
            yield from json.loads(line).items()


def _least(add: Mapping[str, Any], column: str) -> int | None:
    least = json.loads(add.get("stats") or "{}").get("minValues", {}).get(column)
    return least if isinstance(least, int) else None
