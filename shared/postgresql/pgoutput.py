"""The messages of pgoutput, PostgreSQL's built-in logical decoding plug-in, in version 1 of its protocol.

Sans-I/O: bytes of one message in, a value out. Source: PostgreSQL documentation, "Logical Replication Message Formats".
Values are the text that the type's output function writes.
"""

import struct
from collections.abc import Callable, Mapping
from enum import Enum
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from .errors import MalformedOutput

__all__ = [
    "UNCHANGED",
    "Begin",
    "Column",
    "Commit",
    "Delete",
    "Insert",
    "LogicalMessage",
    "Message",
    "Origin",
    "Relation",
    "Row",
    "Truncate",
    "Type",
    "Update",
    "decode",
]


class Unchanged(Enum):
    """A large value that is stored out of line (TOAST), and that an update left alone: it isn't sent."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Row: TypeAlias = list[str | Literal[Unchanged.UNCHANGED] | None]
"""The values of a row, in the order of the relation's columns."""


class Begin(NamedTuple):
    """A transaction begins.

    Attributes
    ----------
    commit_lsn:
        Where its commit record is; it grows from one transaction to the next.
    committed_at:
        Microseconds since 2000-01-01 UTC.
    """

    commit_lsn: int
    committed_at: int
    xid: int


class Commit(NamedTuple):
    """A transaction ends; `end_lsn` is the first position behind it."""

    commit_lsn: int
    end_lsn: int
    committed_at: int


class Origin(NamedTuple):
    """The transaction was replicated from elsewhere."""

    commit_lsn: int
    name: str


class Column(NamedTuple):
    """A column of a relation.

    Attributes
    ----------
    key:
        It is part of the replica identity.
    type_oid, modifier:
        `pg_attribute.atttypid` and `atttypmod`.
    """

    name: str
    key: bool
    type_oid: int
    modifier: int


class Relation(NamedTuple):
    """A table as the following rows have it; sent before its first row, and again after it was altered.

    Attributes
    ----------
    identity:
        `d` default, `n` nothing, `f` full, `i` index.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


class Type(NamedTuple):
    """A type that isn't built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    """A row came in."""

    relation: int
    new: Row


class Update(NamedTuple):
    """A row was changed.

    Attributes
    ----------
    old_kind:
        `K`: of `old` only the key is known, since it was changed; `O`: the whole old row; empty: it isn't known.
    """

    relation: int
    old_kind: str
    old: Row | None
    new: Row


class Delete(NamedTuple):
    """A row went; `old_kind` as in `Update`."""

    relation: int
    old_kind: str
    old: Row


class Truncate(NamedTuple):
    """Tables were emptied."""

    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class LogicalMessage(NamedTuple):
    """What `pg_logical_emit_message` wrote: within its transaction, or at once, outside of any."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message: TypeAlias = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | LogicalMessage

_U16 = Struct(">H")
_U32 = Struct(">I")
_U64 = Struct(">Q")
_BEGIN = Struct(">QqI")
_COMMIT = Struct(">BQQq")
_COLUMN = Struct(">Ii")
_TRUNCATE = Struct(">IB")
_MESSAGE = Struct(">BQ")


def decode(data: bytes) -> Message:
    """One message.

    Raises
    ------
    MalformedOutput
        It isn't one of version 1, it is cut short, or something follows it.
    """
    reader = _READERS.get(data[:1])
    if reader is None:
        raise MalformedOutput(f"pgoutput: no message begins with {data[:1]!r}")
    try:
        message, end = reader(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedOutput(f"pgoutput: a message {data[:1]!r} of {len(data)} bytes: {error}") from None
    if end != len(data):
        raise MalformedOutput(f"pgoutput: a message {data[:1]!r} has {len(data)} bytes where {end} were expected")
    return message


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A string that ends with a zero byte."""
    end = data.find(b"\0", at)
    if end < 0:
        raise IndexError("a string has no end")
    return data[at:end].decode(), end + 1


def _row(data: bytes, at: int) -> tuple[Row, int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    row: Row = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 116:  # t: text
            (length,) = _U32.unpack_from(data, at)
            at += 4
            end = at + length
            if end > len(data):
                raise IndexError("a value is cut short")
            row.append(data[at:end].decode())
            at = end
        elif kind == 110:  # n: null
            row.append(None)
        elif kind == 117:  # u: unchanged
            row.append(UNCHANGED)
        else:
            raise IndexError(f"a value of the kind {kind:#x}")
    return row, at


def _marked(data: bytes, at: int, allowed: bytes) -> tuple[str, int]:
    """The byte that says which row follows."""
    if data[at] not in allowed:
        raise IndexError(f"a row marked {data[at]:#x}")
    return chr(data[at]), at + 1


def _begin(data: bytes) -> tuple[Message, int]:
    return Begin(*_BEGIN.unpack_from(data, 1)), 21


def _commit(data: bytes) -> tuple[Message, int]:
    _, commit, end, committed_at = _COMMIT.unpack_from(data, 1)
    return Commit(commit, end, committed_at), 26


def _origin(data: bytes) -> tuple[Message, int]:
    (lsn,) = _U64.unpack_from(data, 1)
    name, end = _text(data, 9)
    return Origin(lsn, name), end


def _relation(data: bytes) -> tuple[Message, int]:
    (oid,) = _U32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    identity, at = _marked(data, at, b"dnfi")
    (count,) = _U16.unpack_from(data, at)
    at += 2
    columns = []
    for _ in range(count):
        key = data[at] == 1
        column, at = _text(data, at + 1)
        columns.append(Column(column, key, *_COLUMN.unpack_from(data, at)))
        at += 8
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), at  # catalogue tables have no schema


def _type(data: bytes) -> tuple[Message, int]:
    (oid,) = _U32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    return Type(oid, schema, name), at


def _insert(data: bytes) -> tuple[Message, int]:
    (relation,) = _U32.unpack_from(data, 1)
    _, at = _marked(data, 5, b"N")
    new, at = _row(data, at)
    return Insert(relation, new), at


def _update(data: bytes) -> tuple[Message, int]:
    (relation,) = _U32.unpack_from(data, 1)
    kind, at = _marked(data, 5, b"KON")
    old: Row | None = None
    if kind != "N":
        old, at = _row(data, at)
        _, at = _marked(data, at, b"N")
    new, at = _row(data, at)
    return Update(relation, "" if old is None else kind, old, new), at


def _delete(data: bytes) -> tuple[Message, int]:
    (relation,) = _U32.unpack_from(data, 1)
    kind, at = _marked(data, 5, b"KO")
    old, at = _row(data, at)
    return Delete(relation, kind, old), at


def _truncate(data: bytes) -> tuple[Message, int]:
    count, options = _TRUNCATE.unpack_from(data, 1)
    end = 6 + 4 * count
    if end > len(data):
        raise IndexError("the tables are cut short")
    relations = tuple(_U32.unpack_from(data, at)[0] for at in range(6, end, 4))
    return Truncate(relations, bool(options & 1), bool(options & 2)), end


def _message(data: bytes) -> tuple[Message, int]:
    flags, lsn = _MESSAGE.unpack_from(data, 1)
    prefix, at = _text(data, 10)
    (length,) = _U32.unpack_from(data, at)
    at += 4
    return LogicalMessage(bool(flags & 1), lsn, prefix, data[at : at + length]), at + length


_READERS: Mapping[bytes, Callable[[bytes], tuple[Message, int]]] = {
    b"B": _begin,
    b"C": _commit,
    b"O": _origin,
    b"R": _relation,
    b"Y": _type,
    b"I": _insert,
    b"U": _update,
    b"D": _delete,
    b"T": _truncate,
    b"M": _message,
}
