"""What the Debezium Engine wrote about a day of a database, and what our capture says of it: the same changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.changes import CapturedChange, Operation, UnreadableChange, read_changes
from shared.postgresql import ChangeStream, Database

DAY = json.loads((Path(__file__).parents[1] / "postgresql" / "day.json").read_text())
KEYS = {"public.customers": ("id",), "public.notes": ("id",), "public.kinds": ("part", "id")}
TYPES = {"day": "io.debezium.time.IsoDate", "since": "io.debezium.time.IsoDate", "clock": "io.debezium.time.IsoTime"}
"""Declared, since events without a schema don't say them."""


def read(value: Any, key: Any) -> CapturedChange | str | None:
    """The change, or why it is none."""
    try:
        found = read_changes(value, {"key": json.dumps(key)}, lambda _: TYPES)
    except UnreadableChange as error:
        return str(error)
    return found[0] if found else None


def in_short(change: CapturedChange | str | None) -> Any:
    """A change without where it stands, which each numbers in its own way; of an old row what is known, and moments."""
    if not isinstance(change, CapturedChange):
        return change
    before = {name: value for name, value in (change.before or {}).items() if value is not None}
    return replace(change, before=before, after=_values(change.after), position="", identity="")


def _values(row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if row is None or "instant" not in row or row["instant"] is None:
        return row
    return {**row, "instant": datetime.fromisoformat(row["instant"])}


def test_our_words_and_debezium_s_are_read_as_the_same_changes() -> None:
    """One by one: operation, table, key, rows, time and transaction, in an order; what is no change in both."""
    stream = ChangeStream(Database(source="crm", name="postgres", keys=KEYS, types={16_384: ("enum", 0)}))
    ours = [change for lsn, data in DAY["messages"] for change in stream.feed(lsn, bytes.fromhex(data))]
    mine = [in_short(read(dict(one.value), dict(one.key) or None)) for one in ours]
    assert mine == [in_short(read(one["value"], one["key"])) for one in DAY["debezium"]]
    for words in (
        [(dict(one.value), dict(one.key)) for one in ours],
        [(one["value"], None) for one in DAY["debezium"]],
    ):
        found = [one.position for one in (read(*each) for each in words) if isinstance(one, CapturedChange)]
        assert found == sorted(found)
    assert [one for one in mine if isinstance(one, str)] == [
        "the message at once holds no JSON: a text in it is no JSON"
    ]
    assert {one.operation for one in mine if isinstance(one, CapturedChange)} == set(Operation) - {Operation.READ}


def test_debezium_s_own_words_with_their_schema_say_it_too() -> None:
    """As it writes them by default: decimals as bytes, days as numbers; borders and tombstones say none."""
    few = {(one.position, one.identity): one for one in map(_read, DAY["debezium"]) if isinstance(one, CapturedChange)}
    own = [one for one in map(_read, DAY["debeziumByDefault"]) if one is not None]
    assert len(own) == 11
    for one in own:
        assert isinstance(one, CapturedChange)
        other = few[one.position, one.identity]
        assert (one.operation, one.time, one.unavailable) == (other.operation, other.time, other.unavailable)
        assert one.before == other.before
        assert _numbers(one.after) == _numbers(other.after)


def _read(one: Any) -> CapturedChange | str | None:
    return None if one["value"] is None else read(one["value"], None)


def _numbers(row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Decimals with a scale of their own lose the zeros at their end."""
    return row and {name: Decimal(value) if name in ("credit", "free") else value for name, value in row.items()}


@pytest.mark.parametrize("words", ["debezium", "debeziumByDefault"])
def test_no_change_of_the_day_has_the_id_of_another(words: str) -> None:
    """Each is a message of its own."""
    found = [one.message_id for one in map(_read, DAY[words]) if isinstance(one, CapturedChange)]
    assert len(set(found)) == len(found) > 9
