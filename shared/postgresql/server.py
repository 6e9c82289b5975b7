"""The server's side: one session with PostgreSQL, 15 or later, by asyncpg, which is loaded with the first of them."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .address import ServerAddress
from .errors import (
    CaptureError,
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
_FETCH_ROWS = 2_000
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

    async def keys(self, tables: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The tables' keys, once server and tables are fit to be captured.

        Raises
        ------
        UnfitSource
            Names every reason.
        """
        rows = await self._rows(_TABLES, list(tables))
        found = {row["name"]: row for row in rows}
        wrong = [
            *await self._unfit_server(),
            *(f"{name}: there is no such table" for name in tables if name not in found),
        ]
        for name, row in found.items():
            wrong += [f"{name}: {reason}" for reason in _unfit_table(row)]
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
        return {oid: (kind, other) for oid, kind, other in await self._rows(_TYPES)}

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
        row = await self._row(_PUBLICATION, publication)
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
        row = await self._row(_SLOT, name)
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

    async def peek(self, slot: str, publication: str) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """What the slot has, in portions of a few megabytes: pairs of LSN and message. Nothing is taken from it.

        It ends behind the transaction with the `PEEK_CHANGES`th message, or at the end of the log.
        """
        with _named(slot):
            async with self._connection.transaction():
                cursor = await self._connection.cursor(_PEEK, slot, PEEK_CHANGES, publication)
                count = 1
                while rows := await cursor.fetch(count):
                    portion = [(row[0], row[1]) for row in rows]
                    yield portion
                    count = _next(count, sum(len(data) for _, data in portion))

    async def page(self, publication: str, table: str, key: Sequence[str]) -> Page:
        """How a table is read: the columns and rows that the publication has, in the order of its key."""
        row = await self._row(_PAGE, publication, table, list(key))
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


def _unfit_table(row: Mapping[str, Any]) -> list[str]:
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
    if not row["readable"]:
        wrong.append("the user may not select from it")
    return wrong


_PEEK = """
select lsn, data from pg_logical_slot_peek_binary_changes(
    $1, null, $2, 'proto_version', '1', 'publication_names', $3, 'messages', 'true'
)
"""
_TABLES = """
select n.nspname || '.' || c.relname as name, c.relkind::text, c.relpersistence::text,
    c.relreplident = 'n' or exists (
        select from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where p.relreplident = 'n'
    ) as nothing,
    has_table_privilege(c.oid, 'select') as readable,
    array(
        select a.attname::text
        from pg_index i cross join unnest(i.indkey) with ordinality k(number, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where i.indrelid = c.oid and (case when c.relreplident = 'i' then i.indisreplident else i.indisprimary end)
        order by k.place
    ) as key
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any($1::text[])
"""
_TYPES = """
select oid::bigint,
    case when typelem <> 0 and typlen = -1 and typcategory = 'A' then 'array'
         when typtype = 'd' then 'domain' when typtype = 'e' then 'enum' else '' end as kind,
    case when typtype = 'd' then typbasetype else typelem end::bigint as other
from pg_type where oid >= 16384 and typtype in ('b', 'd', 'e')
    and (typtype <> 'b' or (typelem <> 0 and typlen = -1 and typcategory = 'A'))
"""
_PUBLICATION = """
select p.puballtables, p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as every,
    array(select schemaname || '.' || tablename from pg_publication_tables t where t.pubname = p.pubname) as tables
from pg_publication p where p.pubname = $1
"""
_SLOT = """
select confirmed_flush_lsn, wal_status, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), confirmed_flush_lsn) as lag,
    pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn) as kept,
    plugin is not distinct from 'pgoutput' and database = current_database() and not temporary as fit
from pg_replication_slots where slot_name = $1
"""
_PAGE = """
select t.rowfilter,
    array(
        select row(a.attname::text, a.atttypid::bigint)
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            and (t.attnames is null or a.attname = any(t.attnames))
        order by a.attnum
    ) as columns,
    array(
        select row(a.attname::text, format_type(a.atttypid, a.atttypmod))
        from unnest($3::text[]) with ordinality k(name, place)
        join pg_attribute a on a.attrelid = c.oid and a.attname = k.name order by k.place
    ) as keys
from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
where t.pubname = $1 and t.schemaname || '.' || t.tablename = $2
"""
