"""The SQLite file of a vault: a change and the events it causes are committed before the change is answered."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from local_azure.keyvault.backups import KEY_BYTES
from local_azure.keyvault.events import Subscription
from local_azure.keyvault.items import Item, Kind, item_from_text, item_to_text

__all__ = ["Storage", "StorageError"]

_SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE items (kind TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE subscriptions (name TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE undelivered (id INTEGER PRIMARY KEY, subscription TEXT NOT NULL, event TEXT NOT NULL);
"""


class StorageError(Exception):
    """The data directory cannot be used; the message says why."""


class Storage:
    """One data directory, used by one process at a time. What is written survives the death of the process."""

    def __init__(self, directory: Path) -> None:
        """Open the file, making it if need be, for its owner only.

        Raises
        ------
        StorageError
            If it cannot be used, another vault uses it, or another version wrote it.
        """
        self._path = directory / "vault.sqlite"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(self._path, isolation_level=None)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._path} cannot be used ({error}): is another vault running on it?") from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA busy_timeout = 0")
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut may lose the last commits
        run("BEGIN IMMEDIATE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        run("COMMIT")
        if version not in (0, _SCHEMA_VERSION):
            raise StorageError(f"{self._path} was written by another version of the vault: remove it.")

    def close(self) -> None:
        """Let another process use the file."""
        self._connection.close()

    def backup_key(self) -> bytes:
        """What backups are encrypted with, made when it is first asked for.

        Raises
        ------
        StorageError
            If its file holds something else.
        """
        path = self._path.with_name("backup.key")
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
                sink.write(os.urandom(KEY_BYTES))
            os.replace(partial, path)
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise StorageError(f"{path} does not hold {KEY_BYTES} bytes: remove it, and old backups with it.")
        return key

    # -- items -------------------------------------------------------------------------------------
    def items(self, kind: Kind) -> list[Item]:
        """All items of a kind.

        Raises
        ------
        StorageError
            If one of them cannot be read.
        """
        rows = self._connection.execute("SELECT content FROM items WHERE kind = ?", (str(kind),))
        try:
            return [item_from_text(content) for (content,) in rows]
        except ValueError as error:
            raise StorageError(f"{self._path} holds something that is no item: {error}.") from None

    def put(self, kind: Kind, item: Item, events: list[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Keep an item and the events for subscriptions (by name) in one step; the events' numbers."""
        run = self._connection.execute
        numbers = []
        run("BEGIN IMMEDIATE")
        try:
            run("REPLACE INTO items VALUES (?, ?, ?)", (str(kind), item.name.lower(), item_to_text(item)))
            for subscription, event in events:
                row = (subscription, json.dumps(event))
                numbers.append(run("INSERT INTO undelivered (subscription, event) VALUES (?, ?)", row).lastrowid or 0)
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        return numbers

    def remove(self, kind: Kind, name: str) -> None:
        """Forget an item."""
        self._connection.execute("DELETE FROM items WHERE kind = ? AND name = ?", (str(kind), name.lower()))

    # -- events ------------------------------------------------------------------------------------
    def subscriptions(self) -> list[Subscription]:
        """Who is notified."""
        rows = self._connection.execute("SELECT content FROM subscriptions ORDER BY name")
        return [Subscription.read(json.loads(content)) for (content,) in rows]

    def subscribe(self, subscriptions: list[Subscription]) -> None:
        """Tell these from now on, and no others."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM subscriptions")
        for each in subscriptions:
            run("REPLACE INTO subscriptions VALUES (?, ?)", (each.name, json.dumps(each.write())))
        run("COMMIT")

    def undelivered(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Number, subscription and event of what was not taken yet."""
        rows = self._connection.execute("SELECT id, subscription, event FROM undelivered ORDER BY id")
        return [(number, subscription, json.loads(event)) for number, subscription, event in rows]

    def settle(self, number: int) -> None:
        """An event was taken, or is given up."""
        self._connection.execute("DELETE FROM undelivered WHERE id = ?", (number,))
