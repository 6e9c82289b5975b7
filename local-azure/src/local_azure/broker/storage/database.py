"""The SQLite file: its tables, writing a batch of changes as one transaction, and reading all back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

__all__ = ["Batch", "Database", "StorageError"]

_SCHEMA_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE entities (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, path TEXT NOT NULL,
                       description TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE counters (entity INTEGER PRIMARY KEY, next_sequence INTEGER NOT NULL,
                       enqueued_total INTEGER NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, sequence INTEGER NOT NULL,
                       state INTEGER NOT NULL, enqueued_at INTEGER NOT NULL, visible_at INTEGER NOT NULL,
                       expires_at INTEGER NOT NULL, delivery_count INTEGER NOT NULL,
                       extra BLOB, annotations BLOB, bare BLOB NOT NULL);
CREATE TABLE sessions (queue INTEGER NOT NULL, id TEXT NOT NULL, state BLOB NOT NULL,
                       PRIMARY KEY (queue, id)) WITHOUT ROWID;
CREATE TABLE duplicates (queue INTEGER NOT NULL, id TEXT NOT NULL, forget_at INTEGER NOT NULL,
                         PRIMARY KEY (queue, id)) WITHOUT ROWID;
CREATE TABLE events (partition INTEGER NOT NULL, sequence INTEGER NOT NULL, byte_offset INTEGER NOT NULL,
                     enqueued_at INTEGER NOT NULL, annotations BLOB, annotations_count INTEGER NOT NULL,
                     bare BLOB NOT NULL, PRIMARY KEY (partition, sequence)) WITHOUT ROWID;
"""

_LOCKS: Final = """
CREATE TABLE locks (id INTEGER PRIMARY KEY, queue INTEGER NOT NULL);
"""
"""Messages that were under a lock for longer than a moment; since version 2."""

_ROWS_PER_STATEMENT: Final = 200
"""Rows written by one statement: each statement gives up the interpreter lock once, not once a row."""

_CHECKPOINT_BYTES: Final = 16 << 20
"""Size of the log at which it is folded into the database."""

_COLUMNS: Final = {
    "entities": 5,
    "counters": 3,
    "messages": 11,
    "sessions": 3,
    "duplicates": 3,
    "events": 7,
    "locks": 2,
}

Row = tuple[Any, ...]


@lru_cache(maxsize=1024)
def _replacement(table: str, rows: int) -> str:
    marks = "(" + ",".join("?" * _COLUMNS[table]) + ")"
    return f"INSERT OR REPLACE INTO {table} VALUES {','.join([marks] * rows)}"  # noqa: S608


class StorageError(Exception):
    """The data directory cannot be used, or no longer; the message says why."""


@dataclass(slots=True)
class Batch:
    """Changes to commit together. Rows replace those with the same key; deletions come last."""

    entities: list[Row] = field(default_factory=list)
    counters: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    sessions: list[Row] = field(default_factory=list)
    duplicates: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    locks: list[Row] = field(default_factory=list)
    deleted_messages: list[int] = field(default_factory=list)
    deleted_locks: list[int] = field(default_factory=list)
    deleted_sessions: list[Row] = field(default_factory=list)
    deleted_duplicates: list[Row] = field(default_factory=list)
    trimmed_events: list[Row] = field(default_factory=list)
    deleted_entities: list[tuple[int, int]] = field(default_factory=list)

    changes: int = field(init=False)
    """Rows written or deleted."""

    def __post_init__(self) -> None:
        self.changes = sum(map(len, (getattr(self, name) for name in _PARTS)))

    @property
    def size(self) -> int:
        """About how many bytes the log grows by."""
        return 8192 + 256 * self.changes + sum(len(row[-1]) for row in (*self.messages, *self.events))


_PARTS: Final = tuple(each.name for each in fields(Batch) if each.init)


class Database:
    """One data directory. Used by one thread at a time."""

    def __init__(self, directory: Path, *, waits_for_disk: bool = False) -> None:
        """Open the file, making it if need be.

        A commit outlives the process in any case. With `waits_for_disk` it outlives a power cut too
        (`synchronous = FULL`), and takes as long as the disk does.

        Raises
        ------
        StorageError
            If the directory cannot be used, another emulator uses it, or a newer version wrote it.
        """
        self._path = directory / "emulator.sqlite"
        self.waits_for_disk = waits_for_disk
        self._logged = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._path} cannot be used ({error}): is another emulator running on it?") from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA busy_timeout = 0")
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {'FULL' if self.waits_for_disk else 'NORMAL'}")
        run("PRAGMA wal_autocheckpoint = 0")  # see `checkpoint`
        run("PRAGMA cache_size = -16000")
        run("BEGIN IMMEDIATE")
        (version,) = run("PRAGMA user_version").fetchone()
        for since, statements in ((1, _SCHEMA), (2, _LOCKS)):
            if version < since:
                for statement in statements.split(";"):
                    run(statement)
        if version < _SCHEMA_VERSION:
            run(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        run("COMMIT")
        if version > _SCHEMA_VERSION:
            raise StorageError(f"{self._path} was written by another version of the emulator: use a new --data-dir")

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the log has grown enough to be folded into the database."""
        return self._logged > _CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Fold the log into the database. It waits for the disk, which a commit does not."""
        self._logged = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be written ({error})") from error

    def write(self, batch: Batch) -> None:
        """Commit a batch; all of it or nothing. Raises `StorageError`."""
        self._logged += batch.size
        try:
            self._connection.execute("BEGIN")
            self._delete_entities(batch.deleted_entities)
            for table in _COLUMNS:
                rows = getattr(batch, table)
                if rows:
                    self._replace(table, rows)
            self._delete(batch)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be written ({error})") from error

    def _replace(self, table: str, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            chunk = rows[start : start + _ROWS_PER_STATEMENT]
            flat = chunk[0] if len(chunk) == 1 else [value for row in chunk for value in row]
            self._connection.execute(_replacement(table, len(chunk)), flat)

    def _delete(self, batch: Batch) -> None:
        for table, rows in (("messages", batch.deleted_messages), ("locks", batch.deleted_locks)):
            for start in range(0, len(rows), _ROWS_PER_STATEMENT):
                chunk = rows[start : start + _ROWS_PER_STATEMENT]
                marks = ",".join("?" * len(chunk))
                self._connection.execute(f"DELETE FROM {table} WHERE id IN ({marks})", chunk)  # noqa: S608
        for statement, keys in (
            ("DELETE FROM sessions WHERE queue = ? AND id = ?", batch.deleted_sessions),
            ("DELETE FROM duplicates WHERE queue = ? AND id = ?", batch.deleted_duplicates),
            ("DELETE FROM events WHERE partition = ? AND sequence < ?", batch.trimmed_events),
        ):
            if keys:
                self._connection.executemany(statement, keys)

    def _delete_entities(self, ranges: Sequence[tuple[int, int]]) -> None:
        for first, last in ranges:
            for table, column in (
                ("entities", "id"),
                ("counters", "entity"),
                ("messages", "queue"),
                ("sessions", "queue"),
                ("duplicates", "queue"),
                ("events", "partition"),
                ("locks", "queue"),
            ):
                statement = f"DELETE FROM {table} WHERE {column} BETWEEN ? AND ?"  # noqa: S608
                self._connection.execute(statement, (first, last))

    def rows(self, table: str) -> Iterator[Row]:
        """All rows of a table, by key."""
        order = {"events": "partition, sequence", "messages": "id", "duplicates": "forget_at"}.get(table, "1")
        yield from self._connection.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608

    def last_message_row(self) -> int:
        """The highest message key in use."""
        (highest,) = self._connection.execute("SELECT max(id) FROM messages").fetchone()
        return highest or 0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
