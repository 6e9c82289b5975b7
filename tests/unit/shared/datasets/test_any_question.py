"""Whatever is asked of whatever rows: DuckDB answers as plain Python does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.query import Kind, Property
from shared.query.filters import holds, parse_filter
from tests.scale import SCALE

from .lakes import ask, lake_in, written

TEXTS = ["", "a", "A", "b'c", 'd"e', "%", "_", "é", "日本", "--", "x y"]
PROPERTIES = {
    "name": Property(name="name", kind=Kind.TEXT),
    "units": Property(name="units", kind=Kind.INTEGER),
    "total": Property(name="total", kind=Kind.DECIMAL),
    "weight": Property(name="weight", kind=Kind.DOUBLE),
    "guest": Property(name="guest", kind=Kind.BOOLEAN),
    "day": Property(name="day", kind=Kind.DAY),
    "placed": Property(name="placed", kind=Kind.MOMENT),
}
Row = dict[str, Any]
days = st.dates(date(2025, 12, 30), date(2026, 1, 3))
moments = st.integers(0, 172_800_000_000).map(
    lambda one: datetime(2025, 12, 31, tzinfo=UTC) + timedelta(microseconds=one)
)
rows = st.fixed_dictionaries(
    {
        "name": st.none() | st.sampled_from(TEXTS),
        "units": st.none() | st.integers(-3, 3) | st.sampled_from([-(2**63), 2**63 - 1]),
        "total": st.none() | st.decimals(-3, 3, places=2),
        "weight": st.none() | st.sampled_from([-1.5, 0.0, 0.1, 2.5, float("nan"), float("inf")]),
        "guest": st.none() | st.booleans(),
        "day": st.none() | days,
        "placed": st.none() | moments,
    }
)
literals = {
    "name": st.sampled_from(TEXTS).map(lambda one: "'" + one.replace("'", "''") + "'"),
    "units": st.sampled_from(["-1", "0", "2", "1.5", "9223372036854775807", "99999999999999999999"]),
    "total": st.sampled_from(["-1", "0", "1.25", "0.005", "2.50", "1e1"]),
    "weight": st.sampled_from(["0", "0.1", "2.5", "-1"]),
    "guest": st.sampled_from(["true", "false"]),
    "day": days.map(str),
    "placed": moments.map(lambda one: one.isoformat().replace("+00:00", "Z")) | days.map(str),
}


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    """One term of a filter."""
    name = draw(st.sampled_from(list(PROPERTIES)))
    literal = literals[name] | st.just("null")
    if name == "name" and draw(st.booleans()):
        return f"{draw(st.sampled_from(['contains', 'startswith', 'endswith']))}(name,{draw(literals['name'])})"
    if draw(st.integers(0, 4)) == 0:
        return f"{name} in ({','.join(draw(st.lists(literal, min_size=1, max_size=3)))})"
    operators = ["eq", "ne"] if name == "guest" else ["eq", "ne", "gt", "ge", "lt", "le"]
    return f"{name} {draw(st.sampled_from(operators))} {draw(literal)}"


filters = st.recursive(
    comparisons(),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda one: f"({' '.join(one)})")
        | inner.map(lambda one: f"not ({one})")
    ),
    max_leaves=5,
)


def as_json(row: Row) -> Row:
    """A row as the answers have it."""
    shown = dict(row)
    shown["total"] = None if row["total"] is None else f"{row['total']:f}"
    shown["weight"] = row["weight"] if row["weight"] is not None and abs(row["weight"]) < 1e300 else None
    shown["day"] = None if row["day"] is None else row["day"].isoformat()
    shown["placed"] = None if row["placed"] is None else row["placed"].isoformat().replace("+00:00", "Z")
    return shown


def literal_of(row: Row) -> str:
    """A row as SQL has it, for the writer alone."""
    texts = {
        "name": "VARCHAR",
        "units": "BIGINT",
        "total": "DECIMAL(12,2)",
        "weight": "DOUBLE",
        "guest": "BOOLEAN",
        "day": "DATE",
        "placed": "TIMESTAMPTZ",
    }
    values = []
    for name, kind in texts.items():
        value = row[name]
        text = "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"
        values.append(f"CAST({text} AS {kind}) AS {name}")
    return f"SELECT {', '.join(values)}"


@dataclass
class Lake:
    """Some rows in files of two commits."""

    folder: Path
    rows: Sequence[Row]

    def asked(self, **options: Any) -> Sequence[Row]:
        """What a question gives."""
        return asyncio.run(self._asked(options))

    async def _asked(self, options: dict[str, Any]) -> Sequence[Row]:
        datasets = lake_in(self.folder)
        try:
            return await ask(datasets, "any", **options)
        finally:
            await datasets.close()


def lake(folder: str, found: Sequence[Row], *, partitioned: bool) -> Lake:
    """A lake with these rows, half of them in each commit."""
    half = len(found) // 2
    for part in (found[:half], found[half:]):
        if part:
            sql = " UNION ALL ".join(map(literal_of, part))
            written(Path(folder), "any", sql, partition_by=["day"] if partitioned else None)
    return Lake(Path(folder), found)


def key(row: Row) -> str:
    """Sorts rows somehow."""
    return repr(sorted(row.items()))


@settings(max_examples=int(15 * SCALE), deadline=None)
@given(st.lists(rows, min_size=1, max_size=6), st.lists(filters, min_size=1, max_size=4), st.booleans())
def test_a_filter_lets_through_what_it_is_true_of(found: list[Row], texts: list[str], partitioned: bool) -> None:
    """Also where files are left out by the log's statistics, and where a partition's values are in the log alone."""
    with tempfile.TemporaryDirectory() as folder:
        whole = lake(folder, found, partitioned=partitioned)
        for text in texts:
            term = parse_filter(text, PROPERTIES)
            wanted = [as_json(row) for row in found if holds(term, as_json(row), PROPERTIES) is True]
            assert sorted(whole.asked(filter=text), key=key) == sorted(wanted, key=key), text


METHODS = ["sum", "min", "max", "average", "countdistinct"]


def aggregate(method: str, values: list[Any]) -> Any:
    """What an aggregate of some values is, nulls left out."""
    known = [one for one in values if one is not None]
    match method:
        case "countdistinct":
            return len(set(known))
        case _ if not known:
            return None
        case "sum":
            return sum(known)
        case "average":
            return float(sum(map(Fraction, known)) / len(known))
        case "min":
            return min(known)
    return max(known)


@settings(max_examples=int(15 * SCALE), deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=8),
    st.lists(st.sampled_from(["name", "guest", "day"]), max_size=2, unique=True),
    st.lists(st.tuples(st.sampled_from(METHODS), st.sampled_from(["units", "total"])), max_size=3),
    st.none() | filters,
    st.booleans(),
)
def test_an_aggregate_is_that_of_the_rows(
    found: list[Row], keys: list[str], wanted: list[tuple[str, str]], before: str | None, partitioned: bool
) -> None:
    """Of all that a filter before it lets through, nulls left out, and null where there is nothing."""
    found = [{**row, "units": None if row["units"] is None else max(min(row["units"], 9), -9)} for row in found]
    every = found
    aggregates = [f"{of} with {method} as r{number}" for number, (method, of) in enumerate(wanted)]
    text = f"aggregate({','.join([*aggregates, '$count as n'])})"
    if keys:
        text = f"groupby(({','.join(keys)}),{text})"
    shown = [as_json(row) for row in found]
    if before is not None:
        text = f"filter({before})/{text}"
        term = parse_filter(before, PROPERTIES)
        found = [row for row, one in zip(found, shown, strict=True) if holds(term, one, PROPERTIES) is True]
    groups: dict[tuple[Any, ...], list[Row]] = {} if keys else {(): []}
    for row in found:
        groups.setdefault(tuple(as_json(row)[name] for name in keys), []).append(row)
    expected = []
    for group, members in groups.items():
        result: Row = dict(zip(keys, group, strict=True))
        for number, (method, of) in enumerate(wanted):
            value = aggregate(method, [row[of] for row in members])
            result[f"r{number}"] = f"{value:.2f}" if isinstance(value, Decimal) else value
        expected.append({**result, "n": len(members)})
    with tempfile.TemporaryDirectory() as folder:
        answered = lake(folder, every, partitioned=partitioned).asked(apply=text)
        assert sorted(map(rounded, answered), key=key) == sorted(map(rounded, expected), key=key), text


def rounded(row: Row) -> Row:
    """An average is a double on both sides, computed another way."""
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
