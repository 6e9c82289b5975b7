"""A day of a database with everything that happens to tables, and how Debezium's words for it become ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from shared.postgresql import ChangeRecord
from tests.scale import SCALE

__all__ = ["BEFORE", "DAY", "RESTART_BEFORE", "TABLES", "assert_same", "told_last"]

LARGE = 100_000 if SCALE > 1 else 50
"""Rows of the day's largest transaction."""
TABLES = ("public.customers", "public.notes", "public.kinds")
BEFORE = """
create type mood as enum ('sad', 'happy');
create table customers (id int primary key, name text, credit numeric, large text);
create table notes (id uuid primary key, body jsonb, large text);
alter table notes replica identity full;
alter table customers alter large set storage external;
alter table notes alter large set storage external;
create table kinds (
    id bigserial, part text, small smallint, whole bigint, exact numeric(38, 10), free numeric, single real,
    double double precision,
    yes boolean, words varchar(20), padded char(5), day date, clock time, moment timestamp, instant timestamptz,
    document json, bytes bytea, numbers int[], texts text[], feels mood, address inet, primary key (part, id)
);
insert into customers select n, 'customer ' || n, n / 7.0, null from generate_series(1, 20) n;
insert into customers values (21, null, 'NaN', repeat('x', 3000));
insert into kinds (part) values ('nothing');
"""
DAY = (
    "insert into customers values (30, 'Ada', 1.10, repeat('y', 3000)), (31, 'Grüße 🎈', -0.00001, '')",
    "update customers set name = 'Grace' where id = 30",
    "update customers set id = 33 where id = 31",
    "update customers set large = null where id = 30",
    "delete from customers where id in (2, 33)",
    """insert into kinds (part, small, whole, exact, free, single, double, yes, words, padded, day, clock, moment,
        instant, document, bytes, numbers, texts, feels, address)
    values ('all', -32768, 9223372036854775807, 12345678901234567890.0123456789, 1e-20, 1.5, 0.1, true, 'varying', 'ab',
        '2026-11-30', '10:00:00.25', '2026-11-30 10:00:00.123456', '2026-11-30 10:00:00.5+02', '{"a": [1, null]}',
        '\\x00ff', '{1,null,3}', '{a,"b,c",null}', 'happy', '10.0.0.1/8')""",
    "update kinds set part = 'other' where part = 'all'",
    "insert into notes values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', repeat('z', 3000))",
    "update notes set body = null",
    "update notes set id = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
    "delete from notes",
    "select pg_logical_emit_message(true, 'outbox', '{\"id\": 1}')",
    "select pg_logical_emit_message(false, 'at once', 'x')",
    "alter table customers add column since date default '2026-11-30'",
    "insert into customers values (40, 'later', 1, null, '2026-12-01')",
    "alter table customers drop column credit",
    "alter table customers rename column name to called",
    "update customers set called = 'renamed' where id = 40",
    f"insert into customers select n, 'large', null, null from generate_series(1000, {1_000 + LARGE - 1}) n",
    "begin; insert into customers values (50, 'gone'); rollback",
    "begin; insert into customers values (51, 'kept'); savepoint a; insert into customers values (52, 'gone');"
    "rollback to a; delete from customers where id = 1; commit",
    "truncate notes, customers",
    "insert into customers values (60, 'after')",
)
RESTART_BEFORE = "delete from notes"


def as_ours(record: dict[str, Any]) -> tuple[Any, ...]:
    """What Debezium tells, in our words: it ends dates and times with Z, fills up fractions of seconds, writes NAN."""
    value = record["value"]
    if value["op"] == "m":
        return "m", value["message"]["prefix"], value["message"]["content"]
    source = value["source"]
    table = f"{source['schema']}.{source['table']}"
    after = value["after"] and {name: in_our_words(table, name, one) for name, one in value["after"].items()}
    before = value["before"] and {name: in_our_words(table, name, one) for name, one in value["before"].items()}
    return value["op"], table, record["key"] or {}, before, after


def in_our_words(table: str, name: str, value: Any) -> Any:
    """One value."""
    if isinstance(value, str) and name in ("day", "since", "clock"):
        return value.removesuffix("Z")
    if isinstance(value, str) and name in ("moment", "instant"):
        return re.sub(r"(\.\d*?)0+Z$", r"\1Z", value)
    if value == "NAN":
        return "NaN"
    if table == "public.kinds" and name == "free" and value is not None:
        return f"{float(value):.20f}"
    return value


def told_last(record: dict[str, Any]) -> bool:
    """Whether it is about the day's last row."""
    return bool(record["value"].get("after")) and record["value"]["after"].get("id") == 60


def in_short(record: ChangeRecord) -> tuple[Any, ...]:
    """What we tell."""
    if record.value["op"] == "m":
        return "m", record.value["message"]["prefix"], record.value["message"]["content"]
    return record.value["op"], record.table, dict(record.key), record.value["before"], record.value["after"]


def assert_same(ours: Sequence[ChangeRecord], theirs: Sequence[dict[str, Any]]) -> None:
    """One by one; where the key alone is known of an old row, Debezium fills the rest up."""
    assert len(ours) == len(theirs)
    for mine, other in zip(map(in_short, ours), map(as_ours, theirs), strict=True):
        if mine[0] != "m" and mine[3] is not None and other[3] is not None:
            other = (*other[:3], {name: other[3][name] for name in mine[3]}, other[4])
        if mine[0] != "m" and mine[4] is not None and mine[1] == "public.kinds":
            mine = (*mine[:4], {name: in_our_words(mine[1], name, one) for name, one in mine[4].items()})
        assert mine == other
