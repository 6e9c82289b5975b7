"""The lake as an operator reads it: tables of text, and JSON for programs."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from .status import LakeStatus, PartitionStatus, TableStatus

__all__ = ["answer_json", "answer_table", "status_table"]

MOST_ROWS, LONGEST = 200, 60
_STEPS = ((1, "s"), (60, "min"), (3_600, "h"), (86_400, "d"))


def answer_json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Mapping[str, Any]:
    """An answer; decimals are texts, since a number of JSON may be read as a binary one."""
    return {"columns": list(names), "rows": [dict(zip(names, map(_plain, row), strict=True)) for row in rows]}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def answer_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The first rows of an answer, and how many there are."""
    shown = [["" if one is None else _short(str(_plain(one))) for one in row] for row in rows[:MOST_ROWS]]
    numbers = [all(isinstance(row[at], int | float | Decimal | None) for row in rows) for at in range(len(names))]
    more = f", the first {MOST_ROWS} are shown" if len(rows) > MOST_ROWS else ""
    return f"{_table(names, shown, numbers)}\n\n{len(rows):,} {'row' if len(rows) == 1 else 'rows'}{more}"


def status_table(status: LakeStatus, now: datetime) -> str:
    """Bronze by partition, then every table, then what is wrong."""
    head = ("bronze partition", "events", "files", "first", "last", "behind", "gaps", "overlaps", "corrupt")
    bronze = _table(head, [_partition(one) for one in status.bronze], [False, *[True] * 8])
    columns = ("table", "rows", "files", "size", "version", "written", "watermark")
    tables = _table(columns, [_row(one, now) for one in status.tables], [False, True, True, True, True, False, False])
    wrong = "\n".join(status.problems) or "The lake is whole: no gap, nothing corrupt, nothing in quarantine."
    return f"{bronze}\n\n{tables}\n\n{wrong}"


def _partition(one: PartitionStatus) -> Sequence[str]:
    figures = (one.events, one.files, one.first, one.last, one.behind, len(one.gaps), one.overlaps, len(one.corrupt))
    return (one.partition, *(f"{figure:,}" for figure in figures))


def _row(one: TableStatus, now: datetime) -> Sequence[str]:
    name = f"{one.layer}.{one.name}"
    if one.rows is None:
        return (name, "-", "-", "-", "-", "isn't there yet", "")
    age = "" if one.written_at is None else f"{_span((now - one.written_at).total_seconds())} ago"
    marks = " ".join(f"{app_id.rpartition('/')[2]}:{mark}" for app_id, mark in (one.watermark or {}).items())
    return (name, f"{one.rows:,}", f"{one.files:,}", _size(one.size or 0), str(one.version), age, marks)


def _span(seconds: float) -> str:
    width, unit = next(step for step in reversed(_STEPS) if seconds >= step[0] or step[0] == 1)
    return f"{max(0, seconds) / width:.0f} {unit}"


def _size(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count < 10 * 1024 * 1024 else f"{count / 1024 / 1024:,.0f} MiB"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if number else f"{cell:<{width}}"
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )
