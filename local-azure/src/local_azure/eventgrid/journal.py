"""Keeps deliveries in a file, so that what a publisher got 200 for survives the process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local_azure.eventgrid.grid import Delivery

__all__ = ["Journal"]


class Journal:
    """A keeper of `Grid` in SQLite; it keeps topics and subscriptions too, as they were described."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, content TEXT NOT NULL)")
        self._database.execute("CREATE TABLE IF NOT EXISTS described (path TEXT PRIMARY KEY, content TEXT NOT NULL)")

    def describe(self, path: str, content: Any) -> None:
        """Keep how a topic, or `<topic>/<subscription>`, was described."""
        self._write("INSERT OR REPLACE INTO described VALUES (?, ?)", [(path, json.dumps(content))])

    def forget(self, path: str) -> None:
        """It is gone."""
        self._write("DELETE FROM described WHERE path = ?", [(path,)])

    def described(self) -> list[tuple[str, Any]]:
        """Topics before their subscriptions."""
        rows = self._database.execute("SELECT path, content FROM described ORDER BY instr(path, '/') > 0, rowid")
        return [(path, json.loads(content)) for path, content in rows.fetchall()]

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Keep new ones."""
        self._write("INSERT OR REPLACE INTO deliveries VALUES (?, ?)", [(one.id, _text(one)) for one in deliveries])

    def change(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what has changed of them."""
        self.add(deliveries)

    def remove(self, deliveries: Sequence[Delivery]) -> None:
        """They are done."""
        self._write("DELETE FROM deliveries WHERE id = ?", [(one.id,) for one in deliveries])

    def read(self) -> Iterator[Delivery]:
        """What was on its way."""
        for (content,) in self._database.execute("SELECT content FROM deliveries ORDER BY rowid").fetchall():
            yield Delivery(**json.loads(content))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _write(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")


def _text(delivery: Delivery) -> str:
    return json.dumps(asdict(delivery), separators=(",", ":"))
