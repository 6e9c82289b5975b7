"""The server's side: one session with PostgreSQL, 15 or later, by asyncpg, which is loaded with the first of them."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import queries
from .address import ServerAddress
from .errors import (
    CaptureError,
    DecodingTooSlow,
    PublicationMissing,
    SlotInUse,
    SlotLost,
    SourceUnavailable,
    UnfitSource,
)

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["PEEK_CHANGES", "Page", "Session", "SlotState", "SnapshotTaken", "opened"]

PEEK_CHANGES = 20_000
"""Changes of one look, which ends at the commit behind them: so much the server keeps for it."""
_FETCH_ROWS = 200
"""At most: nobody knows how large the next rows are, and of the largest common ones, 1 MB, this is 200 MB."""
_FETCH_BYTES = 4 << 20
_CONNECT_SECONDS = 10.0
_SLOT_SECONDS = 30
_SESSION = {
    # what output functions write depends on these, in the stream as in what is read before it
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "row_security": "off",  # a table of which we may see a part alone is an error
    "search_path": "",
    "statement_timeout": "230s",
    "application_name": "sluice-capture",
}

Password = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot as it is.

    Attributes
    ----------
    confirmed:
        Up to where it was advanced: what was committed before doesn't come any more.
    lag:
        Bytes of log from there to its end.
    kept:
        Bytes of log that the server keeps for the slot.
    status:
        `reserved`, `extended`, `unreserved` or `lost` (`pg_replication_slots.wal_status`).
    """

    confirmed: int
    lag: int
    kept: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """A snapshot: what it sees (`pg_snapshot`), the end of the log then, and when, in microseconds since 1970."""

    text: str
    lsn: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Columns of a table that is read before the stream, their types' OIDs, and its key with the types to cast to."""

    table: str
    columns: tuple[tuple[str, int], ...]
    key: tuple[tuple[str, str], ...]
    row_filter: str


class Session:
    """What is asked of the server, on one connection."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def flushed(self) -> int:
        """The end of the log that is safe on the server's disk."""
        return int(await self._value("select pg_current_wal_flush_lsn()"))

    async def keys(
        self, tables: Sequence[str], named: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, tuple[str, ...]]:
        """The tables' keys, once server and tables are fit to be captured.

        Parameters
        ----------
        named:
            By table, the spellings of the column that names the aggregate: each change must tell it, a deletion too.

        Raises
        ------
        UnfitSource
            Names every reason.
        """
        rows = await self._rows(queries.TABLES, list(tables))
        found = {row["name"]: row for row in rows}
        wrong = [
            *await self._unfit_server(),
            *(f"{name}: there is no such table" for name in tables if name not in found),
        ]
        for name, row in found.items():
            wrong += [f"{name}: {reason}" for reason in _unfit_table(row, (named or {}).get(name))]
        if wrong:
            raise UnfitSource("; ".join(wrong))
        return {name: tuple(row["key"]) for name, row in found.items()}

    async def _unfit_server(self) -> list[str]:
        level, version, encoding = await self._row(
            "select current_setting('wal_level'), current_setting('server_version_num')::int, "
            "current_setting('server_encoding')"
        )
        wrong = [] if level == "logical" else [f"wal_level is {level}: set it to logical and restart the server"]
        if encoding == "SQL_ASCII":
            wrong.append("the database's encoding is SQL_ASCII, so that nobody knows which characters a text has")
        return wrong if version >= 150_000 else [*wrong, f"PostgreSQL {version // 10_000}: 15 or later is needed"]

    async def types(self) -> dict[int, tuple[str, int]]:
        """The database's own types, as `converter` takes them."""
        return {oid: (kind, other) for oid, kind, other in await self._rows(queries.TYPES)}

    async def published(self, publication: str) -> dict[str, str] | None:
        """The tables of the publication, and which each is, in which membership; None where there is no publication.

        It is another text after the table was made anew, or taken out and added again.
        """
        rows = await self._rows(queries.PUBLISHED, publication)
        return {row["name"]: row["identity"] for row in rows if row["name"] is not None} if rows else None

    async def oldest_open(self) -> int:
        """The number of the first transaction that is still open and writes; of the next one where there is none."""
        return int(await self._value("select pg_snapshot_xmin(pg_current_snapshot())::text"))

    async def next_transaction(self) -> int:
        """A number that is greater than that of every transaction that writes at this moment."""
        return int(await self._value("select pg_current_xact_id()::text"))

    async def publish(self, publication: str, tables: Sequence[str], *, create: bool) -> None:
        """See that the publication has these tables.

        Parameters
        ----------
        create:
            Make one where there is none: only before the slot, which can't be read with a younger publication.

        Raises
        ------
        PublicationMissing, UnfitSource
        """
        row = await self._row(queries.PUBLICATION, publication, list(tables))
        listed = ", ".join(_quoted(one) for one in sorted(tables))
        if row is None:
            if not create:
                raise PublicationMissing(
                    f"the publication {publication} was dropped or renamed: give it its name back, or reset the "
                    "capture, which reads the tables anew"
                )
            await self._define(f"create publication {publication} for table {listed} with (publish_via_partition_root)")
            return
        if row["puballtables"]:
            raise UnfitSource(
                f"the publication {publication} is for all tables, so that updates fail in every table without a key: "
                "make one with a list"
            )
        if not row["every"]:
            raise UnfitSource(f"the publication {publication} must publish insert, update, delete and truncate")
        if row["partitioned"] and not row["pubviaroot"]:
            raise UnfitSource(
                f"the publication {publication} tells changes of {', '.join(row['partitioned'])} under the names of "
                "partitions, so have its owner do this: "
                f"alter publication {publication} set (publish_via_partition_root)"
            )
        if lacking := sorted(set(tables) - set(row["tables"])):
            await self._define(f"alter publication {publication} add table {', '.join(map(_quoted, lacking))}")

    async def _define(self, statement: str) -> None:
        from asyncpg import InsufficientPrivilegeError

        with _named("the server"):
            try:
                await self._connection.execute(statement)
            except InsufficientPrivilegeError:
                raise UnfitSource(f"the user may not do this, so have the tables' owner do this: {statement}") from None

    async def slot(self, name: str) -> SlotState | None:
        """The slot; None where there is none.

        Raises
        ------
        UnfitSource
            It is another plug-in's, another database's, or temporary.
        """
        row = await self._row(queries.SLOT, name)
        if row is None:
            return None
        if not row["fit"]:
            raise UnfitSource(f"the slot {name} is not one of pgoutput for this database: choose another name")
        return SlotState(
            confirmed=row["confirmed_flush_lsn"] or 0,
            lag=int(row["lag"] or 0),
            kept=int(row["kept"] or 0),
            status=row["wal_status"] or "lost",
        )

    async def create_slot(self, name: str) -> None:
        """Make the slot; it waits for every transaction that writes at this moment.

        Raises
        ------
        SourceUnavailable
            One of them takes too long: the next run tries again.
        """
        async with self._transaction():
            await self._execute(f"set local statement_timeout = '{_SLOT_SECONDS}s'")
            await self._row("select pg_create_logical_replication_slot($1, 'pgoutput')", name)

    async def drop_slot(self, name: str) -> None:
        """Drop the slot."""
        await self._row("select pg_drop_replication_slot($1)", name)

    async def advance(self, name: str, lsn: int) -> None:
        """Let the server forget the log up to a position; one that the slot is past already is no error."""
        await self._row(
            "select pg_replication_slot_advance(slot_name, $2) from pg_replication_slots "
            "where slot_name = $1 and confirmed_flush_lsn < $2",
            name,
            lsn,
        )

    async def peek(self, slot: str, publication: str, seconds: float) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """What the slot has, in portions of a few megabytes: pairs of LSN and message. Nothing is taken from it.

        It ends behind the transaction with the `PEEK_CHANGES`th message, or at the end of the log.

        Raises
        ------
        DecodingTooSlow
            The server needs longer than so many seconds until it has all of that.
        """
        from asyncpg import QueryCanceledError

        with _named(slot):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(f"set local statement_timeout = {max(1, int(seconds * 1000))}")
                    cursor = await self._connection.cursor(queries.PEEK, slot, PEEK_CHANGES, publication)
                    count = 1
                    while rows := await cursor.fetch(count):
                        portion = [(row[0], row[1]) for row in rows]
                        yield portion
                        count = _next(count, sum(len(data) for _, data in portion))
            except QueryCanceledError as error:
                raise DecodingTooSlow(
                    f"{slot}: the server didn't decode the log within the {seconds:.0f} seconds of the run. A "
                    "transaction that is always too large for it stops the capture: reset it, which reads the tables "
                    "anew"
                ) from error

    async def page(self, publication: str, table: str, key: Sequence[str]) -> Page:
        """How a table is read: the columns and rows that the publication has, in the order of its key."""
        row = await self._row(queries.PAGE, publication, table, list(key))
        if row is None:
            raise PublicationMissing(f"the publication {publication} has no table {table}")
        return Page(
            table=table,
            columns=tuple((name, oid) for name, oid in row["columns"]),
            key=tuple((name, kind) for name, kind in row["keys"]),
            row_filter=row["rowfilter"] or "true",
        )

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SnapshotTaken]:
        """A transaction in which every table is as it was at one moment."""
        with _named("the snapshot"):
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                text, lsn, at = await self._row(
                    "select pg_current_snapshot()::text, pg_current_wal_insert_lsn(), "
                    "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
                )
                yield SnapshotTaken(text=text, lsn=lsn, at=at)

    async def rows(self, page: Page, after: Sequence[str] | None) -> AsyncGenerator[list[list[str | None]], None]:
        """Rows behind a key, each the texts of the page's columns and then those of the key; within a `snapshot`."""
        # `::text` is another thing than the output function for some types, and that is what the stream has
        listed = [_output(name) for name, _ in page.columns] + [_output(name) for name, _ in page.key]
        names = ", ".join(_identifier(name) for name, _ in page.key)
        behind = ", ".join(f"${number}::text::{kind}" for number, (_, kind) in enumerate(page.key, 1))
        where = page.row_filter if after is None else f"({page.row_filter}) and ({names}) > ({behind})"
        query = f"select {', '.join(listed)} from {_quoted(page.table)} where {where} order by {names}"  # noqa: S608
        with _named(page.table):
            cursor = await self._connection.cursor(query, *(after or ()))
            count = 1
            while found := await cursor.fetch(count):
                yield [list(row.values()) for row in found]
                count = _next(count, sum(len(value) for row in found for value in row.values() if value is not None))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        with _named("a transaction"):
            async with self._connection.transaction():
                yield

    async def _rows(self, query: str, *values: Any) -> Any:
        with _named(str(values[0]) if values else "the server"):
            return await self._connection.fetch(query, *values)

    async def _row(self, query: str, *values: Any) -> Any:
        with _named(str(values[0]) if values else "the server"):
            return await self._connection.fetchrow(query, *values)

    async def _value(self, query: str) -> Any:
        with _named("the server"):
            return await self._connection.fetchval(query)

    async def _execute(self, statement: str) -> None:
        with _named("the server"):
            await self._connection.execute(statement)


@asynccontextmanager
async def opened(address: ServerAddress, password: Password) -> AsyncIterator[Session]:
    """A session; closed at the end.

    Raises
    ------
    SourceUnavailable, UnfitSource
    """
    import asyncpg

    with _named(address.host):
        connection = await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            database=address.database,
            password=address.password or await password(),
            ssl=False if address.local else ssl.create_default_context(),
            timeout=_CONNECT_SECONDS,
            server_settings=_SESSION,
            statement_cache_size=0,  # of few statements each is run once or twice
        )
    try:
        yield Session(connection)
    finally:
        try:
            await connection.close(timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()


@contextmanager
def _named(what: str) -> Iterator[None]:
    """The driver's errors as ours."""
    import asyncpg

    try:
        yield
    except CaptureError:
        raise
    except asyncpg.ObjectInUseError as error:
        raise SlotInUse(f"{what}: {error}") from error
    except asyncpg.UndefinedObjectError as error:
        if "publication" in str(error):
            raise PublicationMissing(
                f"{what}: {error}: it was dropped or renamed, or made after the slot. Give it its name back, or reset "
                "the capture, which reads the tables anew"
            ) from error
        raise SlotLost(_lost(what, error)) from error
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        if "slot" in str(error):
            raise SlotLost(_lost(what, error)) from error
        raise UnfitSource(f"{what}: {error}") from error
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise UnfitSource(f"{what}: {error}") from error
    except asyncpg.UndefinedTableError as error:  # dropped meanwhile
        raise UnfitSource(f"{what}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise SourceUnavailable(f"{what}: {type(error).__name__}: {error}") from error


def _next(count: int, size: int) -> int:
    """How many rows come next, after so many of so many bytes: small rows by many, large ones by few."""
    return max(1, min(2 * count, _FETCH_ROWS, _FETCH_BYTES * count // (size + 1)))


def _lost(what: str, error: Exception) -> str:
    return f"{what}: {error}: changes are missing. Reset the capture, which makes a slot and reads the tables anew"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(table: str) -> str:
    """`schema.table` as a statement has it; a table's own name may have dots."""
    schema, _, name = table.partition(".")
    return f"{_identifier(schema)}.{_identifier(name)}"


def _output(column: str) -> str:
    name = _identifier(column)
    return f"case when {name} is distinct from null then format('%s', {name}) end"


def _unfit_table(row: Mapping[str, Any], named: Sequence[str] | None) -> list[str]:
    wrong = []
    if row["relkind"] not in ("r", "p"):
        wrong.append("it is no table")
    if row["relpersistence"] != "p":
        wrong.append("it is not logged (unlogged or temporary)")
    if row["nothing"]:
        wrong.append("its replica identity is nothing, so that updates would fail in its application: alter it")
    elif not row["key"]:
        wrong.append(
            "it has no key, so that updates would fail in its application: give it a primary key, or "
            "`replica identity using index` of a unique one"
        )
    if named and row["key"] and not set(named) & set(row["columns"] if row["whole"] else row["key"]):
        wrong.append(
            f"no column of its key is {named[0]}, by which its changes are handled, so that a deletion doesn't tell "
            "it: it needs REPLICA IDENTITY FULL, and that column"
        )
    if not row["readable"]:
        wrong.append("the user may not select from it")
    return wrong
