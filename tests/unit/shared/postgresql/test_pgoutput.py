"""pgoutput read message by message: what the server writes comes out, and any other bytes are refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.postgresql import MalformedOutput
from shared.postgresql.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Message,
    Origin,
    Relation,
    Row,
    Truncate,
    Type,
    Update,
    decode,
)

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
"""Messages of a PostgreSQL 15, and what they say; `python -m tests.integration.postgresql.record` writes them anew."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
oids = st.integers(0, 2**32 - 1)
lsns = st.integers(0, 2**64 - 1)
times = st.integers(-(2**63), 2**63 - 1)
rows = st.lists(st.none() | texts | st.just(UNCHANGED), max_size=8)
columns = st.builds(Column, texts, st.booleans(), oids, st.integers(-(2**31), 2**31 - 1))
messages = st.one_of(
    st.builds(Begin, lsns, times, oids),
    st.builds(Commit, lsns, lsns, times),
    st.builds(Origin, lsns, texts),
    st.builds(
        Relation, oids, texts.filter(bool), texts, st.sampled_from("dnfi"), st.lists(columns, max_size=5).map(tuple)
    ),
    st.builds(Type, oids, texts, texts),
    st.builds(Insert, oids, rows),
    st.builds(Update, oids, st.just(""), st.none(), rows),
    st.builds(Update, oids, st.sampled_from("KO"), rows, rows),
    st.builds(Delete, oids, st.sampled_from("KO"), rows),
    st.builds(Truncate, st.lists(oids, max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(LogicalMessage, st.booleans(), lsns, texts, st.binary(max_size=30)),
)


def row_bytes(row: Row) -> bytes:
    """A row as the protocol has it."""
    parts = [pack(">H", len(row))]
    for value in row:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            parts.append(b"t" + pack(">I", len(value.encode())) + value.encode())
        else:
            parts.append(b"u")
    return b"".join(parts)


def encoded(message: Message) -> bytes:
    """The bytes of a message, written after the documentation and not after the reader."""

    def text(value: str) -> bytes:
        return value.encode() + b"\0"

    match message:
        case Begin(lsn, at, xid):
            return b"B" + pack(">QqI", lsn, at, xid)
        case Commit(lsn, end, at):
            return b"C" + pack(">BQQq", 0, lsn, end, at)
        case Origin(lsn, name):
            return b"O" + pack(">Q", lsn) + text(name)
        case Relation(oid, schema, name, identity, described):
            head = b"R" + pack(">I", oid) + text(schema) + text(name) + identity.encode() + pack(">H", len(described))
            return head + b"".join(
                pack(">B", key) + text(column) + pack(">Ii", kind, modifier)
                for column, key, kind, modifier in described
            )
        case Type(oid, schema, name):
            return b"Y" + pack(">I", oid) + text(schema) + text(name)
        case Insert(oid, new):
            return b"I" + pack(">I", oid) + b"N" + row_bytes(new)
        case Update(oid, kind, old, new):
            before = b"" if old is None else kind.encode() + row_bytes(old)
            return b"U" + pack(">I", oid) + before + b"N" + row_bytes(new)
        case Delete(oid, kind, old):
            return b"D" + pack(">I", oid) + kind.encode() + row_bytes(old)
        case Truncate(relations, cascade, restart):
            return b"T" + pack(f">IB{len(relations)}I", len(relations), cascade | restart << 1, *relations)
        case LogicalMessage(transactional, lsn, prefix, content):
            return b"M" + pack(">BQ", transactional, lsn) + text(prefix) + pack(">I", len(content)) + content


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    """Every kind of message, with any content."""
    assert decode(encoded(message)) == message


@given(messages, st.data())
def test_a_message_that_is_cut_short_or_goes_on_is_refused(message: Message, data: st.DataObject) -> None:
    """At any byte: nothing is read from half a message."""
    whole = encoded(message)
    for wrong in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(MalformedOutput):
            decode(wrong)


@given(
    st.sampled_from(b"BCORYIUDTMSEcA").flatmap(
        lambda kind: st.binary(max_size=80).map(lambda rest: bytes([kind]) + rest)
    )
)
def test_any_bytes_are_read_or_refused_by_name(data: bytes) -> None:
    """No other error than the one."""
    with suppress(MalformedOutput):
        assert encoded(decode(data))[:1] == data[:1]


@pytest.mark.parametrize("number", range(len(RECORDED["messages"])))
def test_what_the_server_wrote_is_read(number: int) -> None:
    """Bytes of a real server."""
    recorded = RECORDED["messages"][number]
    assert repr(decode(bytes.fromhex(recorded["data"]))) == recorded["says"]
    assert encoded(decode(bytes.fromhex(recorded["data"]))).hex() == recorded["data"]
