"""The engine's SQL for a question: names from the table's own schema in quotes, every value a bound parameter.

Nothing that a caller wrote is in it but aliases, which are identifiers and in quotes too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.query import InvalidQuery, Kind
from shared.query.filters import All, Compare, Filter, Matches, Not, OneOf, Some
from shared.query.indexes import Field

from .columns import Column
from .pipeline import Aggregated, FilterStep, GroupStep, Step, result_columns
from .snapshots import DataFile

__all__ = ["CHANGE", "Scan", "Statement", "counting", "selecting"]

CHANGE = "_change_type"
"""The column that tells `insert` from `delete` among changes, by the name that Delta's change data feed has."""
_FILE, _ROW = "$file", "$row"
"""Where a row lies; no column's name has a dollar."""
_LYING = [f'"{_FILE}"', f'"{_ROW}"']
_OPERATORS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FUNCTIONS = {"contains": "contains", "startswith": "starts_with", "endswith": "ends_with"}
_AGGREGATES = {
    "sum": "sum({})",
    "min": "min({})",
    "max": "max({})",
    "average": "avg({})",
    "countdistinct": "count(DISTINCT {})",
}
_DIGITS = 38


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """Files on this machine, and what lies in them.

    Attributes
    ----------
    paths:
        Of each of `files`.
    types:
        By column the engine's type in the files; a column that none of them has isn't there.
    """

    files: Sequence[DataFile]
    paths: Sequence[Path]
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its parameters."""

    sql: str
    parameters: Mapping[str, Any]


@dataclass
class _Building:
    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"


def selecting(
    scans: Sequence[Scan],
    columns: Mapping[str, Column],
    steps: Sequence[Step],
    shown: Mapping[str, Column],
    *,
    hidden: Collection[str] = (),
    unsorted: Collection[str] = (),
    order: Sequence[Field] = (),
    top: int | None = None,
    skip: int = 0,
) -> Statement:
    """The rows of a question, in an order that is the same every time.

    Parameters
    ----------
    scans:
        One for the rows of a version; two for changes, of the files that came and of those that went.
    columns:
        Of the table, which `steps` begin with.
    shown:
        The columns of the answer, of those after `steps`.
    hidden:
        Columns of the answer that come as nulls.
    unsorted:
        Columns of the table that the order of rows must tell nothing of.
    """
    building = _Building()
    with_, last, tie = _steps(building, scans, columns, steps, unsorted)
    names = [_null(one) if name in hidden else _quoted(name) for name, one in shown.items()]
    ordered = [f"{_quoted(one.name)} {'DESC NULLS LAST' if one.descending else 'ASC NULLS FIRST'}" for one in order]
    known = {_quoted(one.name) for one in order}
    ordered += [name for name in tie if name not in known]
    sql = f"{with_} SELECT {', '.join(names)} FROM {last}"
    if ordered and (order or tie != _LYING):  # the engine keeps the order in which rows lie
        sql += f" ORDER BY {', '.join(ordered)}"
    if top is not None:
        sql += f" LIMIT {building.bind(top)}"
    if skip:
        sql += f" OFFSET {building.bind(skip)}"
    return Statement(sql, building.parameters)


def counting(scans: Sequence[Scan], columns: Mapping[str, Column], steps: Sequence[Step]) -> Statement:
    """The number of a question's rows."""
    building = _Building()
    with_, last, _ = _steps(building, scans, columns, steps)
    return Statement(f"{with_} SELECT count(*) FROM {last}", building.parameters)


def _steps(
    building: _Building,
    scans: Sequence[Scan],
    columns: Mapping[str, Column],
    steps: Sequence[Step],
    unsorted: Collection[str] = (),
) -> tuple[str, str, list[str]]:
    """The common table expressions, the name of the last, and what makes its order whole."""
    tables, tie = list(_base(building, scans, columns)), _LYING
    if len(scans) > 1:
        tie = [_quoted(name) for name in columns if name not in unsorted]
    for number, step in enumerate(steps, 1):
        before = f"t{number - 1}"
        match step:
            case FilterStep(term):
                tables.append((f"t{number}", f"SELECT * FROM {before} WHERE {_condition(building, term, columns)}"))
            case GroupStep(keys, aggregates):
                tables.append((f"t{number}", _grouped(before, keys, aggregates, columns)))
                tie = [_quoted(name) for name in keys]
                columns = result_columns([step], columns)
    return "WITH " + ", ".join(f"{name} AS ({sql})" for name, sql in tables), f"t{len(steps)}", tie


def _base(building: _Building, scans: Sequence[Scan], columns: Mapping[str, Column]) -> Iterator[tuple[str, str]]:
    if len(scans) == 1:
        yield "t0", _scanned(building, scans[0], columns)
        return
    bare = {name: one for name, one in columns.items() if name != CHANGE}
    names = ", ".join(map(_quoted, bare))
    for name, scan in zip(("came", "went"), scans, strict=True):
        yield name, f"SELECT {names} FROM ({_scanned(building, scan, bare)})"
    came, went = "SELECT * FROM came EXCEPT ALL SELECT * FROM went", "SELECT * FROM went EXCEPT ALL SELECT * FROM came"
    yield (
        "t0",
        (
            f"SELECT *, 'insert' AS {_quoted(CHANGE)} FROM ({came})"
            f" UNION ALL SELECT *, 'delete' AS {_quoted(CHANGE)} FROM ({went})"
        ),
    )


def _scanned(building: _Building, scan: Scan, columns: Mapping[str, Column]) -> str:
    if not scan.files:
        names = ", ".join(_null(one) for one in columns.values())
        return f'SELECT {names}, 0 AS "{_FILE}", 0 AS "{_ROW}" WHERE false'
    paths = building.bind([str(path) for path in scan.paths])
    names = ", ".join(_value(building, scan, one) for one in columns.values())
    lying = f'file_index AS "{_FILE}", file_row_number AS "{_ROW}"'
    return f"SELECT {names}, {lying} FROM read_parquet({paths}, union_by_name = true)"


def _value(building: _Building, scan: Scan, column: Column) -> str:
    """A column's value as the log's schema has it."""
    name = _quoted(column.name)
    if column.partition:
        values = building.bind([file.partition.get(column.name) for file in scan.files])
        return f"list_extract(CAST({values} AS {column.type}[]), CAST(file_index AS BIGINT) + 1) AS {name}"
    found = scan.types.get(column.name)
    if found is None:
        return _null(column)
    if column.kind is Kind.DOUBLE:  # what isn't a finite number is no value, as in every other door
        return f"CASE WHEN isfinite({name}) THEN {name} END AS {name}"
    return name if not column.type else f"CAST({name} AS {column.type}) AS {name}"


def _null(column: Column) -> str:
    return f"CAST(NULL AS {column.type or 'VARCHAR'}) AS {_quoted(column.name)}"


def _grouped(before: str, keys: Sequence[str], aggregates: Sequence[Aggregated], columns: Mapping[str, Column]) -> str:
    names = [_quoted(name) for name in keys]
    results = result_columns([GroupStep(tuple(keys), tuple(aggregates))], columns)
    values = list(names)
    for one in aggregates:
        value = "count(*)" if not one.of else _AGGREGATES[one.method].format(_quoted(one.of))
        values.append(f"CAST({value} AS {results[one.alias].type}) AS {_quoted(one.alias)}")
    return f"SELECT {', '.join(values)} FROM {before}" + (f" GROUP BY {', '.join(names)}" if names else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _condition(building: _Building, term: Filter, columns: Mapping[str, Column], *, exact: bool = False) -> str:
    """A filter as SQL.

    A comparison with null is false in OData and null in SQL, which is the same until it is negated: below `not` the
    condition is `exact`. Elsewhere it stays as the engine can look for it in the files' own statistics.
    """
    match term:
        case Compare(name, operator, None):
            known = {"eq": "IS NULL", "ne": "IS NOT NULL"}.get(operator)
            return "false" if known is None else f"({_quoted(name)} {known})"
        case Compare(name, "eq", value):
            equals = "IS NOT DISTINCT FROM" if exact else "="
            return f"({_quoted(name)} {equals} {_bound(building, value, columns[name])})"
        case Compare(name, "ne", value):
            return f"({_quoted(name)} IS DISTINCT FROM {_bound(building, value, columns[name])})"
        case Compare(name, operator, value):
            found = f"({_quoted(name)} {_OPERATORS[operator]} {_bound(building, value, columns[name])})"
            return f"coalesce({found}, false)" if exact else found
        case OneOf(name, values):
            whole = [Compare(name, "eq", value) for value in values]
            return _joined(" OR ", [_condition(building, one, columns, exact=exact) for one in whole])
        case Matches(function, name, text):
            return f"{_FUNCTIONS[function]}({_quoted(name)}, {_bound(building, text, columns[name])})"
        case Not(inner):
            return f"(NOT {_condition(building, inner, columns, exact=True)})"
        case All(terms):
            return _joined(" AND ", [_condition(building, one, columns, exact=exact) for one in terms])
        case Some(terms):
            return _joined(" OR ", [_condition(building, one, columns, exact=exact) for one in terms])


def _joined(word: str, terms: Sequence[str]) -> str:
    return f"({word.join(terms)})"


def _bound(building: _Building, value: Any, column: Column) -> str:
    """A value as the engine compares it with a column's; exactly, but with doubles, which aren't exact themselves."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidQuery(f"$filter: the text for {column.name} isn't Unicode") from None
    if not isinstance(value, Decimal):
        return building.bind(value)
    if column.kind is Kind.DOUBLE:
        return f"CAST({building.bind(float(value))} AS DOUBLE)"
    places = max(-int(value.as_tuple().exponent), 0)
    if places == 0 and -(2**63) <= value < 2**63:
        return building.bind(int(value))
    whole, own = _places(column)
    if max(value.adjusted() + 1, whole, 1) + max(places, own) > _DIGITS:
        raise InvalidQuery(f"$filter: the number for {column.name} has too many digits")
    return building.bind(Decimal(f"{value:f}"))


def _places(column: Column) -> tuple[int, int]:
    """Digits before and behind the point that a column's values may have."""
    if column.kind is not Kind.DECIMAL:
        return 19, 0
    precision, scale = column.type.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return int(precision) - int(scale), int(scale)
