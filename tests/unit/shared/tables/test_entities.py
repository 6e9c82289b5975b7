"""Columns survive the table's JSON, whatever they hold."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tables.formats import decode, encode

VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=200),
    st.floats(allow_nan=False),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(lambda name: name != "Timestamp")


@given(columns=st.dictionaries(NAMES, VALUES))
def test_every_column_comes_back_as_it_was(columns: dict[str, Any]) -> None:
    """With its type: a number doesn't become a text, nor a truth a number."""
    found = decode(encode(columns))
    assert found == columns
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in columns.items()
    }


def test_what_the_service_adds_is_no_column() -> None:
    """The ETag is metadata, its own time is left out, its time stamps have a digit more than ours."""
    answer = {
        "odata.metadata": "https://x/$metadata#state/@Element",
        "odata.etag": "W/\"datetime'2026'\"",
        "PartitionKey": "0001",
        "RowKey": "r",
        "Timestamp": "2026-01-02T03:04:05.6789012Z",
        "at@odata.type": "Edm.DateTime",
        "at": "2026-01-02T03:04:05.6789012Z",
        "whole@odata.type": "Edm.DateTime",
        "whole": "2026-01-02T03:04:05Z",
    }
    found = decode(json.dumps(answer))
    assert found.etag == "W/\"datetime'2026'\""
    assert found == {
        "PartitionKey": "0001",
        "RowKey": "r",
        "at": datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        "whole": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }


def test_a_time_goes_as_utc_and_nothing_as_nothing() -> None:
    """A column without a value isn't written."""
    at = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert decode(encode({"at": at, "none": None})) == {"at": datetime(2026, 1, 2, 1, tzinfo=UTC)}


def test_numbers_that_json_has_no_word_for() -> None:
    """The service writes them as text."""
    found = decode(encode({"a": math.inf, "b": -math.inf, "c": math.nan}))
    assert (found["a"], found["b"], math.isnan(found["c"])) == (math.inf, -math.inf, True)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, object(), {"a": 1}, ["a"], UUID])
def test_a_value_that_no_column_holds_is_refused(value: object) -> None:
    """Before anything is sent."""
    with pytest.raises(TypeError, match="odd"):
        encode({"odd": value})
