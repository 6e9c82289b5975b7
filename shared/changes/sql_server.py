"""Reads changes of SQL Server and Azure SQL: events of change event streaming, and rows of change tables.

Source: Microsoft's pages "JSON message format - change event streaming" and "cdc.<capture_instance>_CT", and
"cdc.fn_cdc_get_all_changes_<capture_instance>" for the operations 1 to 4.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from .change import CapturedChange, Operation, Origin, UnreadableChange, parsed_json, position_text

__all__ = ["STREAMED", "ChangesLost", "log_sequence", "read_change_table", "read_streamed"]

STREAMED = "com.microsoft.SQL.CES.DML."
"""What the type of an event of change event streaming begins with; the version follows."""

_LSN = re.compile(r"(?:0x)?([0-9a-fA-F]{8}):?([0-9a-fA-F]{8}):?([0-9a-fA-F]{4})")
_OPERATIONS = {"INS": Operation.CREATE, "UPD": Operation.UPDATE, "DEL": Operation.DELETE}
_TABLE_OPERATIONS = {1: Operation.DELETE, 2: Operation.CREATE, 4: Operation.UPDATE}
_WHOLE = frozenset({"int", "bigint", "smallint", "tinyint"})
_DATE_AND_TIME = frozenset({"datetime", "datetime2", "smalldatetime", "datetimeoffset"})


class ChangesLost(Exception):
    """The change table no longer has what follows on what was read: its clean-up was faster than its reader."""


def log_sequence(text: Any) -> tuple[int, int]:
    """A log sequence number as two numbers that are ordered as it is.

    >>> log_sequence("00000027:00000758:0005") == log_sequence("0x00000027000007580005")
    True
    """
    found = _LSN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise UnreadableChange(f"{str(text)[:40]!r} is no log sequence number")
    file, block, slot = (int(part, 16) for part in found.groups())
    return file << 32 | block, slot


def read_streamed(event: Mapping[str, Any]) -> CapturedChange:
    """The change in an event of change event streaming, its `data` an object, a text of JSON or bytes of one.

    Raises
    ------
    UnreadableChange
        Among others: a part of an event that was split, or Avro.
    """
    if "avro" in str(event.get("datacontenttype", "")) and "json" not in str(event.get("datacontenttype")):
        raise UnreadableChange("the event is Avro: have the event stream group send JSON")
    if event.get("finalsegment") is False or _number(event.get("splittotalcnt")) > 1:
        raise UnreadableChange("the event was split: raise max_message_size_kb of the event stream group")
    try:
        operation = _OPERATIONS[event["operation"]]
        data = _object(event["data"])
        source, rows = data["eventsource"], data["eventrow"]
        types = {one["name"]: str(one["type"]).partition("(")[0].lower() for one in source.get("cols") or ()}
        transaction = source["transaction"]
        before, after = (_typed(_object(rows.get(name)), types) for name in ("old", "current"))
        keys = _typed({one["columnname"]: one["value"] for one in source.get("pkkey") or ()}, types)
        position = position_text(*log_sequence(transaction["commitlsn"]), _number(transaction["sequencenumber"]))
        return CapturedChange(
            operation=operation,
            origin=Origin(connector="azure-sql", database=source["db"], schema=source["schema"], table=source["tbl"]),
            before=None if operation is Operation.CREATE else (before or None),
            after=None if operation is Operation.DELETE else after,
            key=keys,
            position=position,
            time=_moment(transaction.get("committime") or event.get("time")),
            transaction=str(transaction["commitlsn"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, UnreadableChange):
            raise
        raise UnreadableChange(f"it isn't as change event streaming writes events ({type(error).__name__})") from error


def read_change_table(
    rows: Iterable[Mapping[str, Any]], origin: Origin, *, after: str | None = None, oldest: str | None = None
) -> Iterator[CapturedChange]:
    """The changes in rows of a change table, in their order; 3 and 4, before and after an update, are one.

    Parameters
    ----------
    rows:
        With all columns, `__$start_lsn` and its like as hexadecimal texts, in any order.
    after:
        The log sequence number up to which changes were read before.
    oldest:
        What `sys.fn_cdc_get_min_lsn` answers now.

    Raises
    ------
    ChangesLost
        `oldest` is later than `after`: what lies between is gone. Take a new snapshot.
    UnreadableChange
    """
    if after is not None and oldest is not None and log_sequence(oldest) > log_sequence(after):
        raise ChangesLost(f"the change table of {origin.table} begins at {oldest}, after {after}: take a new snapshot")
    try:
        numbered = sorted(((_order(row), row) for row in rows), key=lambda one: one[0])
    except KeyError as error:
        raise UnreadableChange(f"a row of a change table has no {error.args[0]}") from None
    before: Mapping[str, Any] | None = None
    for (start, sequence, number), row in numbered:
        if after is not None and start <= log_sequence(after):
            continue
        columns = {name: value for name, value in row.items() if not name.startswith("__$")}
        if number == 3:
            before = columns
            continue
        operation = _TABLE_OPERATIONS.get(number)
        if operation is None:
            raise UnreadableChange(f"the operation {number} of a change table is unknown")
        is_deleted = operation is Operation.DELETE
        yield CapturedChange(
            operation=operation,
            origin=origin,
            before=columns if is_deleted else before if operation is Operation.UPDATE else None,
            after=None if is_deleted else columns,
            position=position_text(*start, *sequence, number),
            time=_moment(row.get("__$commit_time")),
            transaction=str(row["__$start_lsn"]),
        )
        before = None


def _order(row: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int], int]:
    return log_sequence(row["__$start_lsn"]), log_sequence(row["__$seqval"]), _number(row["__$operation"])


def _number(value: Any) -> int:
    return 0 if value is None else int(value)


def _object(value: Any) -> dict[str, Any]:
    found = parsed_json(value) if isinstance(value, str | bytes) else value
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UnreadableChange("what should be an object is none")
    return found


def _typed(row: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """The row in the types of its columns: the stream writes every value as text."""
    return {name: _value(value, types.get(name, "")) for name, value in row.items()}


def _value(value: Any, kind: str) -> Any:
    if not isinstance(value, str):
        return value
    if kind in _WHOLE:
        return int(value)
    if kind == "bit":
        return value.lower() in ("1", "true")
    if kind in ("float", "real"):
        return float(value)
    if kind in _DATE_AND_TIME:
        moment = _moment(value)
        return value if moment is None else moment.isoformat().replace("+00:00", "Z")
    return value


def _moment(value: Any) -> datetime | None:
    """A time of SQL Server's, `2026-08-07 16:25:00.8833333`, to the microsecond; UTC where it has no offset."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.replace(" +", "+").replace(" -", "-")))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
