"""From the messages of a slot to changes, in the order in which their transactions were committed.

Sans-I/O: the log is read from its beginning as often as need be, and what was captured before is passed over by its
position. The same log gives the same changes, byte for byte, whoever reads it and when.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import MalformedOutput
from .pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Relation,
    Row,
    Truncate,
    Update,
    decode,
)
from .values import Convert, converter

__all__ = [
    "BEGINNING",
    "UNAVAILABLE",
    "ChangeRecord",
    "ChangeStream",
    "Database",
    "Position",
    "Visibility",
    "row_change",
]

UNAVAILABLE = "__debezium_unavailable_value"
"""Stands for a large value that an update left alone, and that nothing else tells."""
_EPOCH_MICROSECONDS = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""
_HALF = 1 << 31
_ROWS = frozenset(b"IUDT")


class Position(NamedTuple):
    """Where a change is in the log: no two have the same, and it grows.

    Attributes
    ----------
    lsn:
        Of the commit record of its transaction; of the message itself where it is outside of any.
    number:
        Its number in the transaction, from 1; 0 outside of any. What isn't captured has numbers too, so that they are
        the same whatever is captured; an update that tells of the old row has two, since it may become two changes.
    """

    lsn: int = 0
    number: int = 0


BEGINNING = Position()


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One change.

    Attributes
    ----------
    position:
        Of the stream; of what was read before it, `(0, number of the row)`.
    table:
        `schema.name`; empty for a message.
    key:
        The columns of the table's key and their values; the prefix of a message.
    value:
        What Debezium calls the envelope: `before`, `after`, `op`, `source`, `ts_ms`, `transaction`.
    """

    position: Position
    table: str
    key: Mapping[str, Any]
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a snapshot sees (`pg_snapshot`), against transactions that the log has as well.

    Attributes
    ----------
    lsn:
        The end of the log when the snapshot was there: what was committed behind it isn't in the snapshot.
    """

    xmin: int
    xmax: int
    running: frozenset[int]
    lsn: int

    @classmethod
    def of(cls, text: str, lsn: int) -> "Visibility":
        """From `pg_current_snapshot()::text`: `xmin:xmax:xip,xip`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(one) for one in running.split(",") if one), lsn)

    def sees(self, xid: int, commit_lsn: int) -> bool:
        """Whether the snapshot has what a transaction of the log did; `xid` without its epoch."""
        if commit_lsn >= self.lsn:
            return False
        whole = self.xmax & ~0xFFFF_FFFF | xid
        if whole > self.xmax + _HALF:
            whole -= 1 << 32
        elif whole < self.xmax - _HALF:
            whole += 1 << 32
        return whole < self.xmin or (whole < self.xmax and whole not in self.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What the changes of a database are read with.

    Attributes
    ----------
    source:
        The name that changes carry for the database.
    keys:
        The tables that are captured, by `schema.name`, and the columns of their keys.
    types:
        The types that aren't the server's own; see `converter`.
    seen:
        By table, what was read of it before the stream: the stream's changes that this has are passed over.
    handles:
        Whether messages with a prefix are reported: any extension may write some.
    """

    source: str
    name: str
    keys: Mapping[str, tuple[str, ...]]
    types: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    seen: Mapping[str, Visibility] = field(default_factory=dict)
    handles: Callable[[str], bool] = lambda prefix: True


class _Table:
    """A relation as it is at the moment, made ready to read rows."""

    def __init__(self, relation: Relation, database: Database) -> None:
        self.schema, self.table = relation.schema, relation.name
        self.name = f"{relation.schema}.{relation.name}"
        self.key = database.keys.get(self.name, ())
        self.captured = self.name in database.keys
        self.columns = [one.name for one in relation.columns]
        self.identity = [one.name for one in relation.columns if one.key]
        self.convert: list[Convert | None] = []
        self.unread: set[str] = set()
        for column in relation.columns:
            try:
                self.convert.append(converter(column.type_oid, database.types))
            except LookupError:
                self.convert.append(None)
                self.unread.add(column.name)

    def values(self, row: Row, old: Row | None = None) -> dict[str, Any]:
        """Column → value; what an update left alone is taken from the old row, where it is known."""
        if len(row) != len(self.columns):
            raise MalformedOutput(f"{self.name} has {len(self.columns)} columns, and a row {len(row)}")
        found: dict[str, Any] = {}
        for number, (name, value, convert) in enumerate(zip(self.columns, row, self.convert, strict=True)):
            if value is UNCHANGED:
                before = None if old is None else old[number]
                if before is None or before is UNCHANGED:
                    found[name] = UNAVAILABLE
                    continue
                value = before
            if value is None or convert is None:
                found[name] = value
                continue
            try:
                found[name] = convert(value)
            except ValueError:  # a type of somebody's own, written as no other: its text is what there is
                found[name] = value
                self.unread.add(name)
        return found

    def key_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values.get(name) for name in self.key}


class ChangeStream:
    """Reads one pass over a slot.

    Parameters
    ----------
    after:
        Up to where, itself included, changes were captured before.
    """

    def __init__(self, database: Database, after: Position = BEGINNING) -> None:
        self._database = database
        self._after = after
        self._tables: dict[int, _Table] = {}
        self._transaction: Begin | None = None
        self._passed = False
        self._index = 0
        self._orders: dict[str, int] = {}
        self._meta: dict[str, Any] = {}
        self.committed = 0
        """The end of the last whole transaction: the slot may be advanced to it once that is sent."""

    @property
    def unread(self) -> set[str]:
        """Columns, as `schema.table.column`, that stayed text since their type isn't known."""
        tables = [table for table in self._tables.values() if table.captured]
        return {f"{table.name}.{name}" for table in tables for name in table.unread}

    def feed(self, lsn: int, data: bytes) -> Iterator[ChangeRecord]:
        """The changes of one message of the slot, none for most kinds.

        Parameters
        ----------
        lsn:
            What the slot tells beside the message.

        Raises
        ------
        MalformedOutput
            The bytes aren't pgoutput's, or don't follow what came before.
        """
        if self._passed and data[:1] and data[0] in _ROWS:  # quick: a long transaction is read again from its beginning
            return
        match decode(data):
            case Begin() as begin:
                self._begin(begin)
            case Commit() as commit:
                self._transaction, self._passed = None, False
                self.committed = commit.end_lsn
            case Relation() as relation:
                table = self._tables[relation.oid] = _Table(relation, self._database)
            case Insert(oid, new):
                self._index += 1
                table = self._table(oid)
                if table.captured:
                    yield from self._row(table, "c", lsn, None, table.values(new))
            case Update() as update:
                yield from self._update(update, lsn)
            case Delete(oid, kind, old):
                self._index += 1
                table = self._table(oid)
                if table.captured:
                    yield from self._row(table, "d", lsn, self._old(table, kind, old), None)
            case Truncate() as truncate:
                for oid in truncate.relations:
                    self._index += 1
                    table = self._table(oid)
                    if table.captured:
                        yield from self._row(table, "t", lsn, None, None)
            case LogicalMessage() as message:
                yield from self._message(message)

    def _begin(self, begin: Begin) -> None:
        self._transaction = begin
        self._passed = begin.commit_lsn < self._after.lsn
        self._index = 0
        self._orders = {}
        micros = begin.committed_at + _EPOCH_MICROSECONDS
        self._meta = _source(self._database, micros, begin.xid)

    def _table(self, oid: int) -> _Table:
        try:
            return self._tables[oid]
        except KeyError:
            raise MalformedOutput(f"a row of the relation {oid}, which wasn't described") from None

    def _old(self, table: _Table, kind: str, old: Row) -> dict[str, Any]:
        values = table.values(old)
        return values if kind == "O" else {name: values[name] for name in table.identity}

    def _update(self, update: Update, lsn: int) -> Iterator[ChangeRecord]:
        """An update; one of a key is a deletion under the old and an insertion under the new one."""
        table = self._table(update.relation)
        self._index += 1 if update.old is None else 2
        if not table.captured:
            return
        before = None if update.old is None else self._old(table, update.old_kind, update.old)
        after = table.values(update.new, update.old if update.old_kind == "O" else None)
        if before is not None and all(name in before for name in table.key) and _differ(table.key, before, after):
            yield from self._row(table, "d", lsn, before, None, self._index - 1)
            yield from self._row(table, "c", lsn, None, after)
        else:
            yield from self._row(table, "u", lsn, before, after)

    def _row(
        self,
        table: _Table,
        op: str,
        lsn: int,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        number: int | None = None,
    ) -> Iterator[ChangeRecord]:
        begin = self._transaction
        if begin is None:
            raise MalformedOutput(f"a row of {table.name} outside of a transaction")
        order = self._orders[table.name] = self._orders.get(table.name, 0) + 1
        position = Position(begin.commit_lsn, self._index if number is None else number)
        if position <= self._after:
            return
        seen = self._database.seen.get(table.name)
        if seen is not None and seen.sees(begin.xid, begin.commit_lsn):
            return
        source = {
            **self._meta,
            "schema": table.schema,
            "table": table.table,
            "lsn": lsn,
            "sequence": f'["{begin.commit_lsn}","{lsn}"]',
        }
        value = {
            "before": before,
            "after": after,
            "source": source,
            "op": op,
            "ts_ms": source["ts_ms"],
            "transaction": {
                "id": f"{begin.xid}:{begin.commit_lsn}",
                "total_order": position.number,
                "data_collection_order": order,
            },
        }
        row = after or before
        yield ChangeRecord(position, table.name, {} if row is None else table.key_of(row), value)

    def _message(self, message: LogicalMessage) -> Iterator[ChangeRecord]:
        """What was written to the log itself. A snapshot has none of it, so that visibility doesn't matter."""
        begin = self._transaction
        if begin is not None and message.transactional:
            self._index += 1
            position = Position(begin.commit_lsn, self._index)
            source = {**self._meta, "sequence": f'["{begin.commit_lsn}","{message.lsn}"]'}
            transaction: dict[str, Any] | None = {
                "id": f"{begin.xid}:{begin.commit_lsn}",
                "total_order": self._index,
            }
        else:
            position, transaction = Position(message.lsn), None
            source = {**_source(self._database, None, None), "sequence": f'["{message.lsn}","{message.lsn}"]'}
        if position <= self._after or not self._database.handles(message.prefix):
            return
        content = base64.b64encode(message.content).decode()
        value = {
            "op": "m",
            "ts_ms": source["ts_ms"],
            "source": {**source, "schema": "", "table": "", "lsn": message.lsn},
            "message": {"prefix": message.prefix, "content": content},
            "transaction": transaction,
        }
        yield ChangeRecord(position, "", {"prefix": message.prefix}, value)


def row_change(
    database: Database, table: str, number: int, lsn: int, at: int, values: Mapping[str, Any]
) -> ChangeRecord:
    """A row that was read before the stream.

    Parameters
    ----------
    lsn:
        Where the stream begins: every change of it comes later.
    at:
        When the reading began, in microseconds since 1970.
    """
    schema, _, name = table.partition(".")
    source = {
        **_source(database, at, None),
        "snapshot": "true",
        "schema": schema,
        "table": name,
        "lsn": lsn,
        "sequence": f'["{lsn}","{lsn}"]',
    }
    key = {column: values[column] for column in database.keys[table]}
    value = {
        "before": None,
        "after": values,
        "source": source,
        "op": "r",
        "ts_ms": source["ts_ms"],
        "transaction": None,
    }
    return ChangeRecord(Position(0, number), table, key, value)


def _source(database: Database, micros: int | None, xid: int | None) -> dict[str, Any]:
    """What Debezium calls the source block, without what differs from change to change of a transaction."""
    return {
        "version": "1",
        "connector": "postgresql",
        "name": database.source,
        "ts_ms": None if micros is None else micros // 1_000,
        "ts_us": micros,
        "ts_ns": None if micros is None else micros * 1_000,
        "snapshot": "false",
        "db": database.name,
        "txId": xid,
        "xmin": None,
    }


def _differ(names: tuple[str, ...], one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a key changed; one that was left alone, and is large, has no other text."""
    return any(other[name] != UNAVAILABLE and one[name] != other[name] for name in names if name in other)
