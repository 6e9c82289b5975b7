"""A version of a table: its columns, and its files with what the log knows of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .columns import Column

__all__ = ["Changes", "DataFile", "Snapshot"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A Parquet file of a table; files never change, a new version has others.

    Attributes
    ----------
    path:
        Below the table's folder.
    size:
        Bytes; -1 where the log doesn't say.
    rows:
        None where the log doesn't say.
    partition:
        By partition column the value of all its rows.
    low, high, nulls:
        By column the bounds of its values, and how many are null; a column without statistics isn't there.
    """

    path: str
    size: int
    rows: int | None = None
    partition: Mapping[str, Any] = field(default_factory=dict)
    low: Mapping[str, Any] = field(default_factory=dict)
    high: Mapping[str, Any] = field(default_factory=dict)
    nulls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One version.

    Attributes
    ----------
    written:
        When the version was committed; None where nobody asked by time, and it isn't the newest.
    newest:
        It was when it was read.
    files:
        By path.
    """

    layer: str
    name: str
    version: int
    newest: bool
    written: datetime | None
    columns: Mapping[str, Column]
    files: tuple[DataFile, ...]
    owner: str = ""
    description: str = ""

    @property
    def path(self) -> str:
        """Of the table, below the lake."""
        return f"{self.layer}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs between two versions, by the files that the log added and removed; maintenance isn't in it."""

    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
