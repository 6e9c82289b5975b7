"""DuckDB, shut in: it reads the files that a question needs and nothing else, and keeps nothing behind it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from .errors import CannotCompute, TooMuch, Unreadable
from .statements import Statement

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Schema
    from duckdb import DuckDBPyConnection

__all__ = ["Engine", "Rows", "Run"]

_SHUT_IN = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
BATCH_ROWS = 10_000


class Rows:
    """The rows of a statement as Arrow batches, read as they are asked for."""

    def __init__(self, schema: "Schema", batches: "Iterator[RecordBatch]") -> None:
        self.schema = schema
        self._batches = batches

    def __iter__(self) -> "Iterator[RecordBatch]":
        return self._batches


class Run:
    """One question's connection; its calls block, but for `stop` and `busy_seconds`, which any thread may call."""

    def __init__(self, connection: "DuckDBPyConnection", clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = Lock()
        self._used = 0.0
        self._since: float | None = None
        self._stopped_for: Exception | None = None

    def types(self, paths: Sequence[Path]) -> dict[str, str]:
        """The columns in some files, and their types."""
        found = self._all(
            Statement(
                "DESCRIBE SELECT * FROM read_parquet($files, union_by_name = true)", {"files": [*map(str, paths)]}
            )
        )
        return {name: kind for name, kind, *_ in found}

    def number(self, statement: Statement) -> int:
        """The one number that a statement gives."""
        return int(self._all(statement)[0][0])

    def rows(self, statement: Statement) -> Rows:
        """The rows of a statement."""
        from arro3.core import RecordBatchReader

        with self._computing():
            relation = self._connection.sql(statement.sql, params=dict(statement.parameters))
            reader = RecordBatchReader.from_arrow(relation)
        return Rows(reader.schema, self._batches(iter(reader)))

    def _batches(self, batches: "Iterator[RecordBatch]") -> "Iterator[RecordBatch]":
        while True:
            with self._computing():
                batch = next(batches, None)
            if batch is None:
                return
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, min(BATCH_ROWS, batch.num_rows - start))

    def _all(self, statement: Statement) -> list[tuple[Any, ...]]:
        with self._computing():
            return self._connection.execute(statement.sql, dict(statement.parameters)).fetchall()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Counts the time, and tells what fails in our words."""
        with self._lock:
            if self._stopped_for is not None:
                raise self._stopped_for
            self._since = self._clock()
        try:
            yield
        except Exception as failure:
            if self._stopped_for is not None:
                raise self._stopped_for from None
            raise _named(failure) from failure
        finally:
            with self._lock:
                self._used += self._clock() - self._since
                self._since = None

    def busy_seconds(self) -> float:
        """How long it has computed, without the time between its calls."""
        with self._lock:
            return self._used + (0.0 if self._since is None else self._clock() - self._since)

    def stop(self, reason: Exception) -> None:
        """Have the call that runs, and every later one, raise this."""
        with self._lock:
            self._stopped_for = self._stopped_for or reason
        self._connection.interrupt()

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


class Engine:
    """Makes connections.

    Parameters
    ----------
    memory:
        Bytes of one connection; nothing is written to a disk beyond it.
    threads:
        Of one connection.
    """

    def __init__(self, *, memory: int, threads: int = 2, clock: Callable[[], float] = time.perf_counter) -> None:
        self._settings = {"memory_limit": f"{memory // 1_024}KiB", "threads": str(threads)}
        self._clock = clock

    def open(self, paths: Sequence[Path]) -> Run:
        """A connection that can open these files alone, which nothing changes any more."""
        import duckdb

        connection = duckdb.connect(config={**_SHUT_IN, **self._settings})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would be written to the process's output
        allowed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        connection.execute(f"SET allowed_paths = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return Run(connection, self._clock)


def _named(failure: Exception) -> Exception:
    """The engine's failure as one of ours: its own words have paths and SQL in them."""
    import duckdb

    match failure:
        case duckdb.OutOfMemoryException():
            return TooMuch(
                "This needs more memory than a question may have.",
                limit="memory",
                help="Filter more, group by fields with fewer values, or sort less.",
            )
        case duckdb.ConversionException() | duckdb.OutOfRangeException():
            return CannotCompute("A number is too large to be computed with.")
        case duckdb.IOException() | duckdb.InvalidInputException() | duckdb.SerializationException():
            return Unreadable("A file of this dataset can't be read.")
        case duckdb.Error():
            return Unreadable("This dataset can't be asked so.")
    return failure
