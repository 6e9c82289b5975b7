"""Predicate hints: what is left out can't hold a row that is asked for, whatever the rows are."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sharing.predicates import MOST_STEPS, ColumnRange, json_predicate, sql_predicate, understood


def column(name: str, kind: str = "long") -> dict[str, Any]:
    """A column in a hint."""
    return {"op": "column", "name": name, "valueType": kind}


def compared(op: str, value: Any, kind: str = "long", name: str = "n") -> dict[str, Any]:
    """A comparison in a hint."""
    return {"op": op, "children": [column(name, kind), {"op": "literal", "value": str(value), "valueType": kind}]}


COMPARISONS = {
    "equal": lambda left, right: left == right,
    "lessThan": lambda left, right: left < right,
    "lessThanOrEqual": lambda left, right: left <= right,
    "greaterThan": lambda left, right: left > right,
    "greaterThanOrEqual": lambda left, right: left >= right,
}
NUMBERS = st.integers(-3, 3)
LEAVES = st.one_of(
    st.builds(compared, st.sampled_from(sorted(COMPARISONS)), NUMBERS),
    st.just({"op": "isNull", "children": [column("n")]}),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda one: {"op": "not", "children": [one]}, inner),
        st.builds(
            lambda op, many: {"op": op, "children": many},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)


def truth(tree: dict[str, Any], value: int | None) -> bool | None:
    """What a row says, by SQL's logic of three values."""
    op, children = tree["op"], tree["children"]
    if op == "isNull":
        return value is None
    if op in COMPARISONS:
        return None if value is None else COMPARISONS[op](value, int(children[1]["value"]))
    found = [truth(one, value) for one in children]
    if op == "not":
        return None if found[0] is None else not found[0]
    decisive = op == "or"
    return decisive if decisive in found else None if None in found else not decisive


@given(TREES, st.lists(st.none() | NUMBERS, min_size=1, max_size=4), st.booleans())
def test_no_file_with_a_wanted_row_is_left_out(tree: dict[str, Any], rows: list[int | None], known: bool) -> None:
    """A file that is left out has no row for which the predicate is true."""
    values = [one for one in rows if one is not None]
    low, high = (min(values), max(values)) if values else (None, None)
    nulls = rows.count(None)
    found = ColumnRange(low, high, nulls if known else None, len(rows), exact=known and low == high)
    predicate = json_predicate(json.dumps(tree))
    assert predicate is not None
    if not predicate.keeps({"n": found}):
        assert not any(truth(tree, one) for one in rows)


@pytest.mark.parametrize(
    ("hint", "kept"),
    [
        (compared("equal", "2010-12-01", "date", "day"), True),
        (compared("equal", "2010-12-05", "date", "day"), False),
        (compared("greaterThan", "2010-12-03", "date", "day"), False),
        (compared("equal", "France", "string", "country"), True),
        (compared("equal", "Österreich", "string", "country"), False),
        ({"op": "not", "children": [compared("equal", "France", "string", "country")]}, False),
        (compared("greaterThan", "2010-12-01T10:00:00.000500Z", "timestamp", "at"), True),
        (compared("greaterThan", "2010-12-01T10:00:00.002000Z", "timestamp", "at"), False),
        (compared("greaterThan", "2.5", "double", "n"), True),
        (compared("greaterThan", "2", "long", "nothing"), True),
        (compared("greaterThan", "2", "long", "country"), True),
        (compared("between", "2"), True),
        (compared("equal", "1", "long", "empty"), False),
        ({"op": "isNull", "children": [column("country")]}, False),
    ],
)
def test_what_is_told_of_a_file_decides(hint: dict[str, Any], kept: bool) -> None:
    """Dates, texts, times cut to milliseconds; NaN is above every number, so doubles decide nothing."""
    columns = {
        "day": ColumnRange("2010-12-01", "2010-12-03", 0, 9),
        "country": ColumnRange("France", "France", 0, 9, exact=True),
        "at": ColumnRange(datetime(2010, 12, 1, 9, tzinfo=UTC), datetime(2010, 12, 1, 10, tzinfo=UTC), 0, 9),
        "n": ColumnRange(1.0, 2.0, 0, 9),
        "empty": ColumnRange(None, None, 9, 9),
    }
    predicate = json_predicate(json.dumps(hint))
    assert predicate is not None
    assert predicate.keeps(columns) is kept
    assert date(2010, 12, 3) - date(2010, 12, 1) == timedelta(days=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"op":"and"}' * 2,
        '{"op":"not","children":[]}',
        '{"op":"equal","children":[{"op":"column"}]}',
        json.dumps(compared("equal", "no date", "date")),
        json.dumps(compared("equal", "2010-02-31", "date")),
        "[" * 100_000,
        " " * 70_000,
    ],
)
def test_what_is_no_hint_is_none(text: str) -> None:
    """It is refused as a whole, and nothing breaks."""
    assert json_predicate(text) is None


def test_a_hint_that_is_too_deep_is_none() -> None:
    """Whatever it says."""
    tree = compared("equal", 1)
    for _ in range(60):
        tree = {"op": "not", "children": [tree]}
    assert json_predicate(json.dumps(tree)) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("n = 1", True),
        ("N >= 5", False),
        ("(`n` < 5)", True),
        ("country = 'France'", True),
        ("country = 'Spain'", False),
        ("country = 'it''s'", None),
        ("n <> 1", None),
        ("n = 1 or n = 2", None),
        ("sleep(1)", None),
        ("nothing = 1", None),
        ("n = 'x'", None),
        (" ( ( n = 1 ) ) ", True),
        (f"n = 1{' ' * 1_100}", None),
        (" " * 100_000, None),
        (f"n{' ' * 500}(", None),
    ],
)
def test_hints_in_sql_are_comparisons(text: str, kept: bool | None) -> None:
    """Everything else is no hint."""
    columns = {"n": ColumnRange(1, 2, 0, 9), "country": ColumnRange("France", "France", 0, 9, exact=True)}
    predicate = sql_predicate(text, {"n": "long", "country": "string"})
    assert (None if predicate is None else predicate.keeps(columns)) is kept


def test_hints_that_would_take_long_are_left_out() -> None:
    """Too many, and those that would look at too many files each; what remains is used."""
    types = {"n": "long"}
    assert len(understood(["n = 1"] * 20_000, None, types, files=5_000)) == 100
    small, large = compared("equal", 1), {"op": "and", "children": [compared("equal", 1)] * 400}
    assert len(understood(["n = 1"], json.dumps(small), types, files=50_000)) == 2
    (left,) = understood(["n = 5"], json.dumps(large), types, files=50_000)
    assert not left.keeps({"n": ColumnRange(1, 2, 0, 9)})
    assert understood(["n = 1"], json.dumps(small), types, files=MOST_STEPS) == []
