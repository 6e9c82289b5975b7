"""Dead letters as rows of a table: which columns there are, and how anything that came fits them.

The table is read with filters over its columns; bodies stay out of that. What a stranger sent must never keep its
own dead letter from being stored: texts are cut and cleaned, times are cut to what a table can keep. Properties
are kept whole, since a replay sends them again.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.tables import etag_of

from .record import DeadLetter, Edit, Note, Status, StoredLetter

__all__ = [
    "COLUMNS",
    "INLINE_BYTES",
    "edit_columns",
    "failed_again",
    "from_row",
    "history_column",
    "merged",
    "partition_of",
    "properties_columns",
    "to_row",
]

INLINE_BYTES = 65_536
"""Largest binary column of a table; a larger body goes to a blob."""
MAX_NOTES = 50

_TEXT = 1_000
_REASON = 8_000
_HISTORY_CHARACTERS = 30_000
_PROPERTIES_TEXT = 30_000
_OLDEST = datetime(1601, 1, 1, tzinfo=UTC)
_BINARY = "$base64"

COLUMNS = (
    "PartitionKey",
    "RowKey",
    "status",
    "source",
    "lane",
    "category",
    "code",
    "reason",
    "attempts",
    "firstFailure",
    "lastFailure",
    "messageId",
    "eventType",
    "key",
    "correlationId",
    "traceId",
    "traceparent",
    "fingerprint",
    "claim",
    "replays",
    "changedAt",
    "history",
    "properties",
    *(f"properties{number}" for number in range(8)),
    "position",
    "bodySize",
    "bodyBlob",
    "bodyKind",
    "sealed",
    "edits",
    "editedId",
    "editedProperties",
    "editedClaim",
    "editBlob",
    "editEncrypted",
    "archivedUntil",
)
"""Every column but the bodies."""
_OF_FAILURE = ("category", "code", "reason", "attempts", "lastFailure", "fingerprint", "correlationId", "traceId")
_OF_COPY = ("traceparent", "source", "position", "lane", "status", "changedAt")


def partition_of(identity: str) -> str:
    """256 partitions: dead letters of a bad hour spread over them."""
    return identity[:2]


def to_row(letter: DeadLetter) -> dict[str, Any]:
    """The row of a new dead letter, without its body."""
    last = _storable(letter.last_failure, letter.last_failure)
    columns = {
        "PartitionKey": partition_of(letter.id),
        "RowKey": letter.id,
        "status": Status.OPEN.value,
        "source": _text(letter.source),
        "lane": _text(letter.lane_name),
        "category": _text(letter.category),
        "code": _text(letter.code),
        "reason": _text(letter.reason, _REASON),
        "attempts": min(letter.attempts, 2**31 - 1),
        "firstFailure": min(_storable(letter.first_failure, last), last),
        "lastFailure": last,
        "messageId": _text(letter.message_id),
        "eventType": _text(letter.event_type),
        "key": _text(letter.key),
        "correlationId": _text(letter.correlation_id),
        "traceId": _trace_id(letter.traceparent),
        "traceparent": _text(letter.traceparent),
        "fingerprint": letter.group,
        "claim": _text(letter.properties.get("claim")),
        "replays": 0,
        "changedAt": last,
        "position": json.dumps(dict(letter.position)) if letter.position else None,
        "bodySize": len(letter.body),
        "bodyKind": None if letter.body_kind == "data" else letter.body_kind,
    }
    kept = {name: value for name, value in columns.items() if value is not None}
    return kept | properties_columns(letter.properties)


def merged(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a dead letter that came again: its first failure and history stay.

    A redelivery of the same copy changes no decision that was made about it; another copy that failed, such as a
    replay, opens it again.
    """
    before = Status(known["status"])
    same_copy = (known.get("source"), known.get("position")) == (new.get("source"), new.get("position"))
    row = dict(new)
    row["firstFailure"] = min(known["firstFailure"], new["firstFailure"])
    row["replays"] = known["replays"]
    row |= {name: value for name, value in known.items() if name.startswith("edit")}
    notes = _notes(known)
    row.pop("archivedUntil", None)
    if before is Status.OPEN or (same_copy and before is not Status.REPLAYING):
        row["status"] = known["status"]
        row["changedAt"] = known["changedAt"]
        if "archivedUntil" in known:
            row["archivedUntil"] = known["archivedUntil"]
    else:
        why = f"{new['code']}: {new['reason']}"
        notes = (*notes, Note(at=new["lastFailure"], action="failed again", by="sluice", reason=why))
    if notes:
        row["history"] = history_column(notes)
    return row


def failed_again(known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a dead letter whose edited message failed: why is new, the message that came stays, and its edits."""
    return merged(known, {**known, **{name: new[name] for name in (*_OF_FAILURE, *_OF_COPY) if name in new}})


def edit_columns(edit: Edit) -> dict[str, Any]:
    """What a row says of its edits."""
    return {
        "edits": edit.number,
        "editedId": edit.message,
        "editedProperties": json.dumps(dict(edit.properties)),
        "editedClaim": edit.properties.get("claim"),
        "editBlob": edit.blob,
        "editEncrypted": edit.encrypted,
    }


def _edit(row: Mapping[str, Any]) -> Edit | None:
    if not row.get("edits"):
        return None
    return Edit(
        number=int(row["edits"]),
        message=row.get("editedId"),
        properties=json.loads(row.get("editedProperties") or "{}"),
        blob=row.get("editBlob"),
        encrypted=bool(row.get("editEncrypted")),
    )


def from_row(row: Mapping[str, Any]) -> StoredLetter:
    """The dead letter of a row."""
    return StoredLetter(
        id=row["RowKey"],
        status=Status(row["status"]),
        source=row["source"],
        category=row["category"],
        code=row["code"],
        reason=row["reason"],
        attempts=int(row["attempts"]),
        first_failure=row["firstFailure"],
        last_failure=row["lastFailure"],
        fingerprint=row["fingerprint"],
        replays=int(row["replays"]),
        changed_at=row["changedAt"],
        history=_notes(row),
        properties=_read_properties(row),
        position=json.loads(row["position"]) if row.get("position") else {},
        body_size=int(row["bodySize"]),
        lane=row.get("lane"),
        message_id=row.get("messageId"),
        event_type=row.get("eventType"),
        key=row.get("key"),
        correlation_id=row.get("correlationId"),
        trace_id=row.get("traceId"),
        traceparent=row.get("traceparent"),
        claim=row.get("claim"),
        body_blob=row.get("bodyBlob"),
        sealed=bool(row.get("sealed")),
        body_kind=str(row.get("bodyKind", "data")),
        edit=_edit(row),
        archived_until=row.get("archivedUntil"),
        etag=etag_of(row),
    )


def history_column(notes: Sequence[Note]) -> str:
    """The history as JSON, oldest first; where it grows too long the oldest notes go."""
    lines = [
        {
            "at": note.at.astimezone(UTC).isoformat(),
            "action": note.action,
            "by": _text(note.by, 200),
            "reason": _text(note.reason),
        }
        for note in notes[-MAX_NOTES:]
    ]
    while len(text := json.dumps(lines)) > _HISTORY_CHARACTERS:
        lines.pop(0)
    return text


def _notes(row: Mapping[str, Any]) -> tuple[Note, ...]:
    lines = json.loads(row.get("history") or "[]")
    return tuple(
        Note(
            at=datetime.fromisoformat(line["at"]),
            action=line["action"],
            by=line["by"] or "",
            reason=line["reason"] or "",
        )
        for line in lines
    )


def properties_columns(properties: Mapping[str, Any]) -> dict[str, Any]:
    """One text column, or binary pieces: 64 KiB of properties, the broker's limit, can be 400 KB of JSON."""
    text = json.dumps({str(name): _plain(value) for name, value in properties.items()}, separators=(",", ":"))
    if len(text) <= _PROPERTIES_TEXT:
        return {"properties": text}
    data = text.encode()
    starts = range(0, len(data), INLINE_BYTES)
    return {f"properties{number}": data[start : start + INLINE_BYTES] for number, start in enumerate(starts)}


def _read_properties(row: Mapping[str, Any]) -> dict[str, Any]:
    text = row.get("properties")
    if text is None:
        pieces: list[bytes] = []
        while (piece := row.get(f"properties{len(pieces)}")) is not None:
            pieces.append(bytes(piece))
        text = b"".join(pieces).decode() or "{}"
    return {name: _restored(value) for name, value in json.loads(text).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BINARY: base64.b64encode(value).decode()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _restored(value: Any) -> Any:
    return base64.b64decode(value[_BINARY]) if isinstance(value, dict) and _BINARY in value else value


def _text(value: object, longest: int = _TEXT) -> str | None:
    """Text that a column can hold; a lone surrogate, which no UTF-8 can, becomes a question mark."""
    return None if value is None else str(value)[:longest].encode("utf-8", "replace").decode()


def _storable(moment: datetime, otherwise: datetime) -> datetime:
    """A table's times begin in 1601, and a time from a message may be anything."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        utc = aware.astimezone(UTC)
    except OverflowError:
        return otherwise
    return utc if utc >= _OLDEST else otherwise


def _trace_id(traceparent: str | None) -> str | None:
    """The trace id of a W3C traceparent (version-traceid-parentid-flags)."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None
