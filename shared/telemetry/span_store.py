"""Spans in a SQLite file of the local stack: bounded, written beside the work, found by any id or the beginning of one.

Every process of the stack writes to the one file. What was written survives whoever is killed; a file that is full,
corrupt or gone is reported once a minute, and is never a message's failure.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .background import BackgroundSink
from .spans import RecordedSpan

__all__ = ["Found", "SpanStore", "SpanWriter", "StoredSpan", "store_sink"]

WRITE_SECONDS = 0.25
TRIMMED_SHARE = 20
"""A full store loses so large a part (one in …) of its spans, the oldest, at once."""
MOST_COMPARED = 2_000
"""Of what an id may mean so many are put in order: the beginning of an id may be that of a million."""
NAMES = {
    "messaging.message.id": "message",
    "messaging.message.conversation_id": "correlation",
    "sluice.key": "key",
}
"""Attributes by whose values, and their beginnings, a trace is found."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    id INTEGER PRIMARY KEY AUTOINCREMENT, trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT, name TEXT NOT NULL,
    kind TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL, problem TEXT, process TEXT NOT NULL,
    attributes TEXT NOT NULL, events TEXT, links TEXT
);
CREATE INDEX IF NOT EXISTS by_trace ON spans (trace);
CREATE TABLE IF NOT EXISTS links (
    trace TEXT NOT NULL, span INTEGER NOT NULL, PRIMARY KEY (trace, span)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (
    value TEXT NOT NULL, kind TEXT NOT NULL, trace TEXT NOT NULL, newest INTEGER NOT NULL,
    PRIMARY KEY (value, kind, trace)
) WITHOUT ROWID;
"""
_COLUMNS = "trace, span, parent, name, kind, started, ended, problem, process, attributes, events, links"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSpan:
    """A span that has ended, wherever it was read from.

    Attributes
    ----------
    trace, span, parent:
        In hex; `parent` is empty for the first span of a trace.
    kind:
        As OpenTelemetry names it, in small letters and digits: internal, server, client, producer or consumer.
    started, ended:
        Nanoseconds since 1970.
    problem:
        What failed; None where nothing did.
    process:
        Which process recorded it.
    links:
        (trace, span) of each span that it points to.
    """

    trace: str
    span: str
    parent: str
    name: str
    kind: str
    started: int
    ended: int
    problem: str | None = None
    process: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A trace that an id names: the id in full, what kind of id it is, and the trace."""

    value: str
    kind: str
    trace: str


class SpanStore:
    """The file. One connection, to be used by one thread.

    Parameters
    ----------
    most:
        Spans that are kept; the oldest go first.
    """

    def __init__(self, path: Path, *, most: int = 500_000, read_only: bool = False) -> None:
        self._path = path
        self._most = most
        import sqlite3  # loaded where there is a store

        self.inode = 0
        where = f"{path.absolute().as_uri()}?mode=ro" if read_only else str(path)
        self._database = sqlite3.connect(where, uri=read_only, timeout=5.0, check_same_thread=False)
        try:
            self.inode = path.stat().st_ino
            if not read_only:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=OFF")  # of the machine's death it knows nothing worth a wait
                self._database.executescript(_SCHEMA)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, spans: Sequence[RecordedSpan], process: str) -> None:
        """Write ended spans, all or none; raises sqlite3.Error."""
        with self._database:
            last = 0
            for span in spans:
                last = self._insert(_row(span, process))
                trace = f"{span.trace_id:032x}"
                for other in {f"{link.context.trace_id:032x}" for link in span.links} - {trace}:
                    self._database.execute("INSERT OR IGNORE INTO links VALUES (?, ?)", (other, last))
                for attribute, kind in NAMES.items():
                    if value := span.attributes.get(attribute):
                        self._database.execute(
                            "INSERT INTO names VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET newest = excluded.newest",
                            (str(value), kind, trace, last),
                        )
            self._trim(last)

    def _insert(self, row: Sequence[Any]) -> int:
        marks = ", ".join("?" * len(row))
        return self._database.execute(f"INSERT INTO spans ({_COLUMNS}) VALUES ({marks})", row).lastrowid or 0  # noqa: S608

    def _trim(self, last: int) -> None:
        (first,) = self._database.execute("SELECT COALESCE(MIN(id), 0) FROM spans").fetchone()
        if last - first < self._most:
            return
        kept = max(first, last - self._most) + max(1, self._most // TRIMMED_SHARE)
        self._database.execute("DELETE FROM spans WHERE id <= ?", (kept,))
        self._database.execute("DELETE FROM links WHERE span <= ?", (kept,))
        self._database.execute("DELETE FROM names WHERE newest <= ?", (kept,))

    def find(self, text: str, *, most: int) -> list[Found]:
        """Traces by a message id, correlation id, business key or trace id, or the beginning of one.

        A value that is exactly the text goes before those that only begin with it; of each the newest come first.
        """
        exact = self._names("value = ?", (text,), most) + self._traces("trace = ?", (text,), most)
        if exact:
            return exact[:most]
        between = (text, f"{text}\U0010ffff")
        return (
            self._names("value >= ? AND value < ?", between, most)
            + self._traces("trace >= ? AND trace < ?", between, most)
        )[:most]

    def _names(self, condition: str, values: Sequence[str], most: int) -> list[Found]:
        rows = self._database.execute(
            f"SELECT value, kind, trace FROM (SELECT * FROM names WHERE {condition} LIMIT ?) "  # noqa: S608
            "ORDER BY newest DESC LIMIT ?",
            (*values, MOST_COMPARED, most),
        )
        return [Found(*row) for row in rows]

    def _traces(self, condition: str, values: Sequence[str], most: int) -> list[Found]:
        rows = self._database.execute(
            f"SELECT trace FROM spans WHERE {condition} GROUP BY trace LIMIT ?",  # noqa: S608
            (*values, most),
        )
        return [Found(row[0], "trace", row[0]) for row in rows]

    def trace(self, trace: str, *, most: int) -> list[StoredSpan]:
        """The spans of a trace and, of other traces, those that link to it, by their beginning."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM spans WHERE trace = ? UNION "  # noqa: S608
            f"SELECT {_COLUMNS} FROM spans WHERE id IN (SELECT span FROM links WHERE trace = ? LIMIT ?) "
            "ORDER BY started LIMIT ?",
            (trace, trace, most, most),
        )
        return [_stored(row) for row in rows]

    def newest(self, most: int) -> Iterator[StoredSpan]:
        """The spans that were written last, the newest first."""
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM spans ORDER BY id DESC LIMIT ?", (most,))  # noqa: S608
        return (_stored(row) for row in rows)


class SpanWriter:
    """Writes spans to the file, which it makes, and makes anew where it is gone or corrupt."""

    def __init__(self, path: Path, *, most: int, process: str) -> None:
        self._path = path
        self._most = most
        self._process = process
        self._store: SpanStore | None = None

    def write(self, spans: Sequence[RecordedSpan]) -> None:
        """Write ended spans, all or none; raises OSError or sqlite3.Error, and the next call begins anew."""
        import sqlite3

        try:
            if self._store is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._store = SpanStore(self._path, most=self._most)
            self._store.put(spans, self._process)
        except BaseException as error:
            inode = None if self._store is None else self._store.inode
            self.close()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                _put_aside(self._path, inode)
            raise

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None


def store_sink(path: Path, *, most: int, process: str) -> BackgroundSink:
    """Where this process's spans go on a local stack."""
    writer = SpanWriter(path, most=most, process=process)
    return BackgroundSink(path.name, writer.write, writer.close, every=WRITE_SECONDS)


def _put_aside(path: Path, inode: int | None) -> None:
    """Give a corrupt file another name, unless another process has put it aside already."""
    with suppress(OSError):
        if inode is None or path.stat().st_ino == inode:
            os.replace(path, path.with_suffix(".corrupt"))
            for ending in ("-wal", "-shm"):
                Path(f"{path}{ending}").unlink(missing_ok=True)


def _row(span: RecordedSpan, process: str) -> tuple[Any, ...]:
    events = [{"name": name, "at": at, "attributes": dict(given)} for name, at, given in span.events]
    links = [[f"{one.context.trace_id:032x}", f"{one.context.span_id:016x}"] for one in span.links]
    return (
        f"{span.trace_id:032x}",
        f"{span.span_id:016x}",
        f"{span.parent_id:016x}" if span.parent_id else "",
        span.name,
        span.kind.name.lower(),
        span.started_at,
        span.ended_at,
        span.problem,
        process,
        json.dumps(span.attributes, default=str),
        json.dumps(events, default=str) if events else None,
        json.dumps(links) if links else None,
    )


def _stored(row: Sequence[Any]) -> StoredSpan:
    trace, span, parent, name, kind, started, ended, problem, process, attributes, events, links = row
    return StoredSpan(
        trace=trace,
        span=span,
        parent=parent or "",
        name=name,
        kind=kind,
        started=started,
        ended=ended,
        problem=problem,
        process=process,
        attributes=json.loads(attributes),
        events=json.loads(events or "[]"),
        links=[(one[0], one[1]) for one in json.loads(links or "[]")],
    )
