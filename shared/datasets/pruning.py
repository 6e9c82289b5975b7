"""Which files may have rows that a filter wants, by partition values and statistics in the log alone."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.query import Kind
from shared.query.filters import All, Compare, Filter, Matches, OneOf, Some

from .columns import Column
from .snapshots import DataFile

__all__ = ["pruned"]

_TRUNCATED = timedelta(milliseconds=1)
"""Bounds of times in the log are cut to milliseconds (Delta's protocol, "Per-file Statistics")."""


def pruned(files: Iterable[DataFile], term: Filter | None, columns: Mapping[str, Column]) -> tuple[DataFile, ...]:
    """The files that a filter's rows may be in."""
    return tuple(file for file in files if term is None or _may_hold(term, file, columns))


def _may_hold(term: Filter, file: DataFile, columns: Mapping[str, Column]) -> bool:
    match term:
        case Compare(name, operator, value):
            return _may_compare(columns[name], operator, value, file)
        case OneOf(name, values):
            return any(_may_compare(columns[name], "eq", value, file) for value in values)
        case Matches("startswith", name, text):
            low, high, _ = _bounds(columns[name], file)
            return (low is None or low[: len(text)] <= text) and (high is None or high >= text)
        case All(terms):
            return all(_may_hold(one, file, columns) for one in terms)
        case Some(terms):
            return any(_may_hold(one, file, columns) for one in terms)
    return True


def _may_compare(column: Column, operator: str, value: Any, file: DataFile) -> bool:
    low, high, nulls = _bounds(column, file)
    if value is None:  # a double that isn't a finite number is shown as null, but isn't counted as one in the log
        doubtful = column.kind is Kind.DOUBLE and not column.partition
        return operator != "eq" or nulls is None or nulls > 0 or doubtful
    if column.kind is Kind.DOUBLE:
        value = float(value)  # as the engine compares it
    if nulls is not None and nulls == file.rows and operator != "ne":
        return False
    match operator:
        case "eq":
            return (low is None or low <= value) and (high is None or high >= value)
        case "gt":
            return high is None or bool(high > value)
        case "ge":
            return high is None or bool(high >= value)
        case "lt":
            return low is None or bool(low < value)
        case "le":
            return low is None or bool(low <= value)
    return True


def _bounds(column: Column, file: DataFile) -> tuple[Any, Any, int | None]:
    """Lowest and highest value, and the number of nulls; None for what isn't known."""
    name = column.name
    if name in file.partition:
        value = file.partition[name]
        return value, value, None if file.rows is None else file.rows if value is None else 0
    high = file.high.get(name)
    if isinstance(high, datetime):
        high += _TRUNCATED
    return file.low.get(name), high, file.nulls.get(name)
