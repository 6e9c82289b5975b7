"""Reads what Debezium sends: envelopes with their schema or bare, flattened rows, outbox events, and what is no change.

Source: Debezium's documentation of the connectors for PostgreSQL, MySQL, MariaDB, SQL Server and Oracle, of event
flattening and of the outbox event router.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from .change import CapturedChange, Operation, Origin, UnreadableChange, parsed_json, position_text
from .column_types import convert, declared_schema, is_unavailable
from .sql_server import log_sequence

__all__ = ["DeclaredTypes", "Handled", "every_table", "read_debezium"]

DeclaredTypes = Callable[[Sequence[str]], Mapping[str, str]]
"""From the names of a table to the types of its columns as they are declared, for events without a schema."""
Handled = Callable[[Sequence[str]], bool]
"""Whether anybody handles changes of a table, by its names."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCALES = (("ts_ns", 1), ("ts_us", 1_000), ("ts_ms", 1_000_000))
_OUTBOX_TYPES = ("eventType", "type", "aggregateType", "aggregatetype")
_DIGITS = re.compile(r"(\d+)$")


def every_table(tables: Sequence[str]) -> bool:
    """Handles all there is."""
    return True


def read_debezium(
    document: Mapping[str, Any], properties: Mapping[str, Any], types: DeclaredTypes, handled: Handled = every_table
) -> CapturedChange | None:
    """The change in an event's body; None of what tells of none: a heartbeat, a transaction's borders, a new
    schema, a notification.

    Parameters
    ----------
    properties:
        Those of the event: the headers that the connector added.
    handled:
        Messages and outbox events that nobody handles aren't looked into: their content is somebody else's, in a form
        of its own.

    Raises
    ------
    UnreadableChange
    """
    schema: Mapping[str, Any] = {}
    payload: Any = document
    if document.keys() == {"schema", "payload"}:
        payload, schema = document["payload"], document["schema"] or {}
        if payload is None:
            return None  # a tombstone in its schema
    if "id" in properties and not (isinstance(payload, Mapping) and "op" in payload and "source" in payload):
        return _outbox(payload, properties, schema, handled)
    if not isinstance(payload, Mapping):
        raise UnreadableChange("its payload is no object")
    if "op" in payload and isinstance(payload.get("source"), Mapping):
        return _enveloped(payload, schema, properties, types, handled)
    if _tells_of_no_row(payload):
        return None
    return _flattened(payload, schema, properties, types)


def _tells_of_no_row(payload: Mapping[str, Any]) -> bool:
    names = payload.keys()
    heartbeat = names <= {"ts_ms", "ts_us", "ts_ns"} and "ts_ms" in names
    border = payload.get("status") in ("BEGIN", "END") and "id" in names
    schema_change = "tableChanges" in names or {"ddl", "databaseName"} <= names
    return heartbeat or border or schema_change or {"aggregate_type", "additional_data"} <= names


def _enveloped(
    payload: Mapping[str, Any],
    schema: Mapping[str, Any],
    properties: Mapping[str, Any],
    types: DeclaredTypes,
    handled: Handled,
) -> CapturedChange:
    source: Mapping[str, Any] = payload["source"]
    try:
        operation = Operation(payload["op"])
    except ValueError:
        raise UnreadableChange(f"the operation {str(payload['op'])[:40]!r} is unknown") from None
    origin = _origin(source)
    if operation is Operation.MESSAGE:
        return _message(payload, source, origin, handled)
    columns = _columns_of(schema, ("after", "before")) or _declared(types(origin.tables))
    before, _ = _row(payload.get("before"), columns)
    after, unavailable = _row(payload.get("after"), columns)
    if after is not None and before is not None and unavailable:
        known = {name: before[name] for name in unavailable if name in before}
        after, unavailable = {**after, **known}, tuple(name for name in unavailable if name not in known)
    transaction = payload.get("transaction") or {}
    total = transaction.get("total_order") if isinstance(transaction, Mapping) else None
    if total is None and operation is Operation.READ:
        total = source.get("ts_us")  # a table that is read anew tells its rows anew, wherever the log is
    return CapturedChange(
        operation=operation,
        origin=origin,
        before=before,
        after=after,
        key=_key(properties),
        position=_position(source),
        identity="" if total is None else str(total),
        time=_time(source) or _time(payload),
        transaction=str(source.get("txId") or source.get("gtid") or ""),
        unavailable=unavailable,
    )


def _origin(source: Mapping[str, Any]) -> Origin:
    schema = source.get("schema") or ""
    return Origin(
        connector=str(source.get("connector") or "debezium"),
        name=str(source.get("name") or ""),
        database=str(source.get("db") or ""),
        schema=str(schema),
        table=str(source.get("table") or source.get("collection") or ""),
    )


def _message(payload: Mapping[str, Any], source: Mapping[str, Any], origin: Origin, handled: Handled) -> CapturedChange:
    """A text that an application wrote into the log: its prefix stands for the table, JSON in it for the row."""
    message = payload.get("message")
    if not isinstance(message, Mapping) or not isinstance(message.get("prefix"), str):
        raise UnreadableChange("a message has no prefix")
    origin = Origin(connector=origin.connector, name=origin.name, database=origin.database, table=message["prefix"])
    content: Any = {}
    if handled(origin.tables):
        try:
            content = parsed_json(base64.b64decode(message.get("content") or "", validate=True))
        except (binascii.Error, TypeError, ValueError) as error:
            why = f": {error}" if isinstance(error, UnreadableChange) else ""
            raise UnreadableChange(f"the message {message['prefix'][:64]} holds no JSON{why}") from None
    if not isinstance(content, Mapping):
        raise UnreadableChange(f"the message {message['prefix'][:64]} holds no JSON object")
    return CapturedChange(
        operation=Operation.MESSAGE,
        origin=origin,
        after=content,
        position=_position(source),
        time=_time(source),
        transaction=str(source.get("txId") or ""),
    )


def _flattened(
    payload: Mapping[str, Any], schema: Mapping[str, Any], properties: Mapping[str, Any], types: DeclaredTypes
) -> CapturedChange:
    """A row alone, with what the connector adds to it: `add.fields=op,table,lsn,source.ts_ms`."""
    added = {name[2:]: value for name, value in (*properties.items(), *payload.items()) if name.startswith("__")}
    source = {name.removeprefix("source_"): value for name, value in added.items()}
    if not source.get("table"):
        raise UnreadableChange("it is no envelope, and doesn't say its table: have the connector add it (add.fields)")
    origin = _origin({"connector": "debezium", **source})
    columns = _columns_of(schema, ()) or _declared(types(origin.tables))
    row, unavailable = _row({name: value for name, value in payload.items() if not name.startswith("__")}, columns)
    deleted = str(added.get("deleted", "")).lower() == "true"
    try:
        operation = Operation.DELETE if deleted else Operation(added.get("op") or "u")
    except ValueError:
        raise UnreadableChange(f"the operation {str(added['op'])[:40]!r} is unknown") from None
    is_deleted = operation is Operation.DELETE
    return CapturedChange(
        operation=operation,
        origin=origin,
        before=row if is_deleted else None,
        after=None if is_deleted else row,
        key=_key(properties),
        position=_position(source),
        time=_time(source),
        transaction=str(source.get("txId") or ""),
        unavailable=() if is_deleted else unavailable,
    )


def _outbox(payload: Any, properties: Mapping[str, Any], schema: Mapping[str, Any], handled: Handled) -> CapturedChange:
    """An event that the outbox event router made of a row: its id is a header, its type one, or stands beside it."""
    fields: dict[str, Any] = dict(properties)
    if isinstance(payload, Mapping) and "payload" in payload:
        fields.update(payload)
        payload = payload["payload"]
    kind = next((fields[name] for name in _OUTBOX_TYPES if fields.get(name)), "")
    if not kind:
        raise UnreadableChange("an outbox event doesn't say its type: place it by table.fields.additional.placement")
    origin = Origin(connector="outbox", table=f"outbox.{kind}")
    if not handled(origin.tables):
        payload = {}
    if isinstance(payload, str):
        payload = parsed_json(payload)
    if not isinstance(payload, Mapping):
        raise UnreadableChange("an outbox event's payload is no object")
    payload, _ = _row(payload, _columns_of(schema, ()))
    return CapturedChange(
        operation=Operation.MESSAGE,
        origin=origin,
        after=payload,
        key=_key(properties),
        identity=str(fields["id"]),
    )


def _row(row: Any, columns: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The row with its values in their own form, and the columns that were left out."""
    if row is None:
        return None, ()
    if isinstance(row, str):  # MongoDB's connector writes documents so
        row = parsed_json(row)
    if not isinstance(row, Mapping):
        raise UnreadableChange("the row is no object")
    unavailable = tuple(name for name, value in row.items() if is_unavailable(value))
    found = {name: convert(value, columns.get(name, {})) for name, value in row.items() if name not in unavailable}
    return found, unavailable


def _columns_of(schema: Mapping[str, Any], within: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The schemas of columns by their names, in the first of these fields of an envelope, or at the top."""
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    if not isinstance(fields, list):
        return {}
    known = {one.get("field"): one for one in fields if isinstance(one, Mapping)}
    if not within:
        return {str(name): one for name, one in known.items()}
    return next((found for name in within if (found := _columns_of(known.get(name, {}), ()))), {})


def _declared(types: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    return {name: declared_schema(kind) for name, kind in types.items()}


def _key(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record's key, where a header has it as JSON."""
    for name in ("key", "__key", "kafka_key"):
        value = properties.get(name)
        if isinstance(value, str) and value.startswith("{"):
            try:
                found = json.loads(value)
            except (ValueError, RecursionError):
                return {}
            payload = found.get("payload", found)
            return payload if isinstance(payload, dict) else {}
    return {}


def _time(source: Mapping[str, Any]) -> datetime | None:
    for name, unit in _SCALES:
        value = source.get(name)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if type(value) is int and value > 0:
            try:
                return _EPOCH + timedelta(microseconds=value * unit // 1_000)
            except OverflowError:
                return None
    return None


def _position(source: Mapping[str, Any]) -> str:
    """Where a change stands in the log of its database, as its connector numbers it.

    Transactions come in the order of their commits: where the record of a row stands says nothing beside those of
    another transaction.
    """
    try:
        if (lsn := source.get("lsn")) not in (None, ""):
            before = _commit(source.get("sequence"))
            return position_text(int(lsn) if before is None else before, int(lsn))
        if (commit := source.get("commit_lsn")) not in (None, ""):
            serial = int(source.get("event_serial_no") or 0)
            change = source.get("change_lsn") or commit
            return position_text(*log_sequence(commit), *log_sequence(change), serial)
        if (file := source.get("file")) not in (None, ""):
            number = _DIGITS.search(file)
            return position_text(
                int(number[1]) if number else 0, int(source.get("pos") or 0), int(source.get("row") or 0)
            )
        if (scn := source.get("scn")) not in (None, ""):
            committed = str(source.get("commit_scn") or "")
            return position_text(int(committed) if committed.isdecimal() else int(scn), int(scn))
    except (OverflowError, TypeError, ValueError):
        raise UnreadableChange("its source has no position that can be read") from None
    found = _time(source)
    return "" if found is None else position_text((found - _EPOCH) // timedelta(microseconds=1))


def _commit(sequence: Any) -> int | None:
    """The first of PostgreSQL's `["commit","lsn"]`: Debezium's is of the last transaction before, ours of this one."""
    found = parsed_json(sequence) if isinstance(sequence, str) and sequence else None
    return int(found[0]) if isinstance(found, list) and found and found[0] is not None else None
