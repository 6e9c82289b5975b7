"""Predicate hints: whether a file may have a row that a reader asks for, found in what the table's log says of it.

Hints are best effort (Delta Sharing protocol, "JSON predicates for filtering"): what can't be understood or decided
keeps the file. A file is left out only where no row of it can be true.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

__all__ = ["ColumnRange", "Predicate", "json_predicate", "sql_predicate", "understood"]

_DEEPEST, _LONGEST = 40, 65_536
_LONGEST_SQL = 1_024
MOST_HINTS = 100
MOST_STEPS = 3_000_000
"""Of all hints together on all files: about two seconds. Hints that would need more are left out."""
_STATS_STEP = timedelta(milliseconds=1)
"""The log cuts timestamps to milliseconds."""


@dataclass(frozen=True, slots=True)
class ColumnRange:
    """What is known of a column in one file.

    Attributes
    ----------
    low, high:
        No value is outside; None where that isn't known. Exact for a partition's value alone.
    nulls, rows:
        How many there are; None where that isn't known.
    """

    low: Any = None
    high: Any = None
    nulls: int | None = None
    rows: int | None = None
    exact: bool = False

    @property
    def all_null(self) -> bool:
        """Whether the column has no value at all."""
        return self.nulls is not None and self.nulls == self.rows


class _May(NamedTuple):
    """Whether a predicate can be true, and whether it can be false, for any row; null is neither."""

    true: bool
    false: bool


_UNKNOWN = _May(true=True, false=True)
_NEVER = _May(true=False, false=False)
Columns = Mapping[str, ColumnRange]
_Test = Callable[[Columns], _May]


@dataclass(frozen=True, slots=True)
class Predicate:
    """A hint that was understood, as far as it was.

    Attributes
    ----------
    steps:
        What it costs on one file, at most: its nodes.
    """

    test: _Test
    steps: int

    def keeps(self, columns: Columns) -> bool:
        """Whether a file with these columns, by names in lower case, may have a row for which it is true."""
        return self.test(columns).true


def json_predicate(text: str) -> Predicate | None:
    """A `jsonPredicateHints`; None where it isn't one."""
    try:
        return Predicate(_node(json.loads(text), 0), text.count("{")) if len(text) <= _LONGEST else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        return None


_SQL = re.compile(
    r"[\s(]*`?(?P<name>\w+)`?\s*(?P<op><=|>=|<>|!=|=|<|>)\s*(?P<value>'[^']*'|-?\d+(?:\.\d+)?|true|false)[\s)]*",
    re.IGNORECASE,
)
"""No two repetitions of the same signs beside each other: what doesn't match is known in linear time."""
_SQL_OPS = {"=": "equal", "<": "lessThan", "<=": "lessThanOrEqual", ">": "greaterThan", ">=": "greaterThanOrEqual"}


def sql_predicate(text: str, types: Mapping[str, str]) -> Predicate | None:
    """One of `predicateHints`: a comparison of a column with a literal; None for anything else.

    Parameters
    ----------
    types:
        The table's columns by names in lower case, with their types as the schema has them.
    """
    found = _SQL.fullmatch(text) if len(text) <= _LONGEST_SQL else None
    if found is None or found["op"] not in _SQL_OPS or (kind := types.get(found["name"].lower())) is None:
        return None
    value = found["value"].strip("'")
    tree = {
        "op": _SQL_OPS[found["op"]],
        "children": [
            {"op": "column", "name": found["name"], "valueType": kind},
            {"op": "literal", "value": value, "valueType": kind},
        ],
    }
    return json_predicate(json.dumps(tree))


def understood(hints: Sequence[str], json_hint: str | None, types: Mapping[str, str], *, files: int) -> list[Predicate]:
    """The hints that can be used on so many files: those beyond the bounds are left out, as they are best effort."""
    found = [] if json_hint is None else [json_predicate(json_hint)]
    found += [sql_predicate(one, types) for one in hints[:MOST_HINTS]]
    steps, used = 0, []
    for one in found:
        if one is not None and (steps + one.steps) * files <= MOST_STEPS:
            steps += one.steps
            used.append(one)
    return used


def _node(node: Any, depth: int) -> _Test:
    if depth > _DEEPEST:
        raise ValueError
    op, children = node["op"], node.get("children", [])
    if op in ("and", "or"):
        tests = [_node(child, depth + 1) for child in children]
        return _all(tests) if op == "and" else _any(tests)
    if op == "not":
        inner = _node(children[0], depth + 1)
        return lambda columns: _May(*reversed(inner(columns)))
    if op == "isNull":
        return _is_null(children[0]["name"].lower())
    if op in _COMPARISONS:
        left, right = children
        if left["op"] == "literal":
            left, right, op = right, left, _TURNED[op]
        if left["op"] == "column" and right["op"] == "literal":
            return _comparison(op, left["name"].lower(), right["value"], right.get("valueType", left.get("valueType")))
    return lambda _: _UNKNOWN


def _all(tests: list[_Test]) -> _Test:
    def test(columns: Columns) -> _May:
        found = [one(columns) for one in tests]
        return _May(all(one.true for one in found), any(one.false for one in found))

    return test


def _any(tests: list[_Test]) -> _Test:
    def test(columns: Columns) -> _May:
        found = [one(columns) for one in tests]
        return _May(any(one.true for one in found), all(one.false for one in found))

    return test


def _is_null(name: str) -> _Test:
    def test(columns: Columns) -> _May:
        column = columns.get(name)
        if column is None or column.nulls is None or column.rows is None:
            return _UNKNOWN
        return _May(column.nulls > 0, column.nulls < column.rows)

    return test


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equal": operator.eq,
    "lessThan": operator.lt,
    "lessThanOrEqual": operator.le,
    "greaterThan": operator.gt,
    "greaterThanOrEqual": operator.ge,
}
_TURNED = {
    "equal": "equal",
    "lessThan": "greaterThan",
    "lessThanOrEqual": "greaterThanOrEqual",
    "greaterThan": "lessThan",
    "greaterThanOrEqual": "lessThanOrEqual",
}


def _comparison(op: str, name: str, text: Any, kind: str) -> _Test:
    read = _LITERALS.get(kind)
    if read is None:
        return lambda _: _UNKNOWN
    value = read(str(text))

    def test(columns: Columns) -> _May:
        column = columns.get(name)
        if column is None:
            return _UNKNOWN
        if column.all_null:
            return _NEVER
        try:
            low, high = _value(column.low, kind), _value(column.high, kind)
            if low is None or high is None:
                return _UNKNOWN
            if kind == "timestamp" and not column.exact:
                high += _STATS_STEP
            if op == "equal":
                same = column.exact and low == high == value
                return _May(low <= value <= high, not same)
            compare = _COMPARISONS[op]
            return _May(compare(low, value) or compare(high, value), not (compare(low, value) and compare(high, value)))
        except (TypeError, ValueError):  # the column is of another type than the hint says
            return _UNKNOWN

    return test


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _timestamp(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


_LITERALS: Mapping[str, Callable[[str], Any]] = {
    "bool": _boolean,
    "boolean": _boolean,
    "int": int,
    "integer": int,
    "long": int,
    "short": int,
    "byte": int,
    "string": str,
    "date": date.fromisoformat,
    "timestamp": _timestamp,
}
"""By the types of hints and of schemas. Not those with fractions: the log leaves NaN out, which is above all others."""


def _value(known: Any, kind: str) -> Any:
    if known is None:
        return None
    if isinstance(known, datetime):
        known = known.replace(tzinfo=UTC) if known.tzinfo is None else known
    value = _LITERALS[kind](known) if isinstance(known, str) else known
    if isinstance(value, datetime) != (kind == "timestamp") or isinstance(value, bool) != (kind in ("bool", "boolean")):
        raise TypeError
    return value
