"""`$apply`: a sequence of filters and groupings ("OData Extension for Data Aggregation 4.0"), typed and bounded.

The grammar is read by odatapy, the conditions within it by the same parser as `$filter`. Its parser goes down into
itself for what is nested, so that length and nesting are bounded before it sees anything.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.query import InvalidQuery, Kind
from shared.query.filters import Filter, parse_filter

from .columns import Column

if TYPE_CHECKING:
    from odatapy.server.uri.query_options import AggregateExpression, GroupBy, Transformation

__all__ = ["METHODS", "Aggregated", "FilterStep", "GroupStep", "Step", "parse_apply", "result_columns"]

METHODS = ("sum", "min", "max", "average", "countdistinct")
MAX_LENGTH, MAX_DEPTH, MAX_STEPS, MAX_NAMES, MAX_WORDS = 4_096, 16, 8, 24, 500
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_QUOTED = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class Aggregated:
    """One value of a group: `method` of a column, or the number of rows where both are empty."""

    alias: str
    method: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class FilterStep:
    """Only rows for which it is true go on."""

    term: Filter


@dataclass(frozen=True, slots=True)
class GroupStep:
    """One row for each combination of the keys' values; without keys one row in all."""

    keys: tuple[str, ...]
    aggregates: tuple[Aggregated, ...]


Step = FilterStep | GroupStep


def parse_apply(text: str, columns: Mapping[str, Column]) -> tuple[Step, ...]:
    """The steps that a text asks for.

    Raises
    ------
    InvalidQuery
        It isn't well-formed, or asks for what isn't offered; the message begins with `$apply`.
    """
    _check_size(text)
    from odatapy.errors import UriParserException
    from odatapy.server.uri.apply_parser import ApplyParser

    try:
        parsed = ApplyParser().parse(text)
    except UriParserException as wrong:
        raise InvalidQuery(f"$apply: {str(wrong)[:200]}") from None
    except (RecursionError, ValueError, ArithmeticError, LookupError, TypeError):
        raise InvalidQuery("$apply: can't be read") from None
    if len(parsed) > MAX_STEPS:
        raise InvalidQuery(f"$apply: has more than {MAX_STEPS} transformations")
    steps: list[Step] = []
    for one in parsed:
        step = _step(one, columns)
        if step is not None:
            steps.append(step)
            columns = result_columns([step], columns)
    return tuple(steps)


def _check_size(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(f"$apply: has more than {MAX_LENGTH} characters")
    bare = _QUOTED.sub("''", text)
    depth = deepest = 0
    for one in bare:
        depth += (one in "([") - (one in ")]")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise InvalidQuery(f"$apply: is nested deeper than {MAX_DEPTH}")
    if len(re.findall(r"[^\s()\[\],/-]+|-", bare)) > MAX_WORDS:
        raise InvalidQuery(f"$apply: has more than {MAX_WORDS} words")


def _step(transformation: "Transformation", columns: Mapping[str, Column]) -> Step | None:
    from odatapy.server.uri import query_options as parsed

    match transformation:
        case parsed.Identity():
            return None
        case parsed.Filter():
            properties = {name: one.shown for name, one in columns.items()}
            try:
                return FilterStep(parse_filter(transformation.raw, properties))
            except InvalidQuery as wrong:
                raise InvalidQuery(str(wrong).replace("$filter:", "$apply: filter:", 1)) from None
        case parsed.Aggregate():
            return GroupStep((), _aggregates(transformation.expressions, columns, ()))
        case parsed.GroupBy():
            return _group(transformation, columns)
    raise InvalidQuery(f"$apply: {transformation.kind} isn't offered: use filter, groupby and aggregate")


def _group(grouping: "GroupBy", columns: Mapping[str, Column]) -> GroupStep:
    from odatapy.server.uri.query_options import Aggregate

    keys = tuple(_column(path, columns, "groupby").name for path in grouping.properties)
    if len(set(keys)) != len(keys):
        raise InvalidQuery("$apply: groupby has a field twice")
    match grouping.transformations:
        case []:
            found: list[AggregateExpression] = []
        case [Aggregate() as aggregate]:
            found = aggregate.expressions
        case _:
            raise InvalidQuery("$apply: groupby takes its fields, and aggregate(...) or nothing")
    return GroupStep(keys, _aggregates(found, columns, keys))


def _aggregates(
    expressions: "list[AggregateExpression]", columns: Mapping[str, Column], keys: Collection[str]
) -> tuple[Aggregated, ...]:
    found = tuple(_aggregated(one, columns) for one in expressions)
    names = [name.lower() for name in (*keys, *(one.alias for one in found))]
    if len(set(names)) != len(names):
        raise InvalidQuery("$apply: two fields of the result have one name; capitals don't tell them apart")
    if len(names) > MAX_NAMES:
        raise InvalidQuery(f"$apply: a result has more than {MAX_NAMES} fields")
    return found


def _aggregated(expression: "AggregateExpression", columns: Mapping[str, Column]) -> Aggregated:
    from odatapy.server.uri.expression import Member

    alias = expression.alias or ""
    if not _ALIAS.fullmatch(alias):
        raise InvalidQuery(f"$apply: {alias[:64]!r} is no name for a result")
    if expression.is_count:
        return Aggregated(alias)
    method, member = expression.method, expression.expression
    if method not in METHODS or expression.from_ or not isinstance(member, Member):
        raise InvalidQuery(f"$apply: aggregate takes a field with one of {', '.join(METHODS)}, or $count")
    if member.lambda_expression is not None or member.lambda_variable or member.count or member.root_uri_info:
        raise InvalidQuery("$apply: aggregate takes fields of a row alone")
    column = _column(member.path, columns, method)
    if method in ("sum", "average") and not column.kind.numeric:
        raise InvalidQuery(f"$apply: {method} is of numbers, {column.name} is {column.kind}")
    if method in ("min", "max") and column.kind is Kind.BOOLEAN:
        raise InvalidQuery(f"$apply: {method} isn't of {column.kind}, which {column.name} is")
    return Aggregated(alias, method, column.name)


def _column(path: list[str], columns: Mapping[str, Column], where: str) -> Column:
    column = columns.get(path[0]) if len(path) == 1 else None
    if column is None:
        raise InvalidQuery(f"$apply: {where}: there is no field {'/'.join(path)[:64]}")
    if not column.kind.comparable:
        raise InvalidQuery(f"$apply: {where}: {column.name} can't be compared")
    return column


def result_columns(steps: Collection[Step], columns: Mapping[str, Column]) -> Mapping[str, Column]:
    """The columns after some steps."""
    for step in steps:
        if isinstance(step, GroupStep):
            before = columns
            keys = {name: before[name] for name in step.keys}
            columns = keys | {one.alias: _result(one, before) for one in step.aggregates}
    return columns


def _result(one: Aggregated, columns: Mapping[str, Column]) -> Column:
    """Sums of whole numbers stay whole, those of decimals keep their places; an average is a double."""
    common: dict[str, Any] = {"name": one.alias, "nullable": bool(one.of) and one.method != "countdistinct"}
    if not one.of or one.method == "countdistinct":
        return Column(kind=Kind.INTEGER, type="BIGINT", **common)
    of = columns[one.of]
    common["level"] = of.level
    if one.method == "average" or (one.method == "sum" and of.kind is Kind.DOUBLE):
        return Column(kind=Kind.DOUBLE, type="DOUBLE", **common)
    if one.method == "sum" and of.kind is Kind.INTEGER:
        return Column(kind=Kind.INTEGER, type="BIGINT", **common)
    if one.method == "sum":
        return Column(kind=Kind.DECIMAL, type=re.sub(r"\(\d+", "(38", of.type), **common)
    return Column(kind=of.kind, type=of.type, **common)
