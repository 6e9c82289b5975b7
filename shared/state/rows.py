"""The rows of the state table: their buckets, their keys, and how a JSON text of any size fits an entity.

Limits from "Understanding the Table service data model": a text property holds 64 KiB of UTF-16, a binary
property 64 KiB, an entity 1 MiB; keys may not hold `/ \\ # ?` or control characters.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.messages import Headers, PayloadHash

__all__ = [
    "MAX_VALUE_BYTES",
    "TooLarge",
    "bucket_of",
    "delivery_columns",
    "delivery_parts",
    "inbox_key",
    "inbox_row",
    "outbox_key",
    "pack",
    "parked_key",
    "partition_key",
    "row_safe",
    "rows_of",
    "sequence_key",
    "state_key",
    "unpack",
    "waiting_key",
]

_TEXT_LIMIT = 32_000
_CHUNK = 65_536
MAX_VALUE_BYTES = 12 * _CHUNK
"""Largest value of one entity: below 1 MiB with room for the other columns."""

_LONGEST_REASON = 4_000
_FORBIDDEN = re.compile(r"[%/\\#?\x00-\x1f\x7f-\x9f]")


class TooLarge(ValueError):
    """A value doesn't fit into one entity."""


def bucket_of(key: str, buckets: int) -> int:
    """The bucket of a key, the same on every machine and in every version.

    Example
    -------
    >>> bucket_of("536365", 16)
    11
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def partition_key(bucket: int) -> str:
    """The bucket as a table's PartitionKey."""
    return f"{bucket:04d}"


def row_safe(text: str) -> str:
    """Percent-encode what a table key may not hold; everything else stays, so that a key grows threefold at most."""
    return _FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", text)


def inbox_key(message_id: object) -> str:
    """Row of a message that was dealt with."""
    return f"inbox:{message_id}"


def state_key(kind: str, key: str) -> str:
    """Row of an aggregate's state."""
    return f"state:{row_safe(kind)}:{row_safe(key)}"


def sequence_key(key: str) -> str:
    """Row that counts what an aggregate has emitted: the guard of its order."""
    return f"head:{row_safe(key)}"


def outbox_key(key: str, sequence: int) -> str:
    """Row of something still to be published; the rows of an aggregate sort in the order of publishing."""
    return f"outbox:{row_safe(key)}:{sequence:012d}"


def parked_key(key: str) -> str:
    """Row of a key of the ordered lane whose messages wait."""
    return f"parked:{row_safe(key)}"


def waiting_key(key: str, number: int) -> str:
    """Row of a message that waits for its turn."""
    return f"waiting:{row_safe(key)}:{number:012d}"


def rows_of(kind: str, key: str | None = None) -> tuple[str, str]:
    """First row key of a kind such as `outbox`, or of one aggregate's part of it, and the first one after."""
    prefix = kind if key is None else f"{kind}:{row_safe(key)}"
    return f"{prefix}:", f"{prefix};"


def pack(text: str) -> dict[str, Any]:
    """A JSON text as columns: readable while it fits a text column, else in binary pieces.

    Raises
    ------
    TooLarge
    """
    if len(text) <= _TEXT_LIMIT and text.isascii():
        return {"value": text}
    data = text.encode()
    if len(text.encode("utf-16-le")) <= 2 * _TEXT_LIMIT:
        return {"value": text}
    if len(data) > MAX_VALUE_BYTES:
        raise TooLarge(f"a value of {len(data)} bytes doesn't fit an entity ({MAX_VALUE_BYTES} bytes)")
    return _pieces("value", data)


def unpack(columns: Mapping[str, Any]) -> str:
    """The JSON text that `pack` made into columns."""
    return str(columns["value"]) if "value" in columns else _joined(columns, "value").decode()


def delivery_columns(body: bytes, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A message that waits as columns: any body, in binary pieces, and so properties that are too long for a text.

    64 KiB of properties, which the broker takes, may be six times as long in JSON.
    """
    text = json.dumps(dict(properties), default=str, separators=(",", ":"))
    kept = {"properties": text} if len(text) <= _TEXT_LIMIT else _pieces("properties", text.encode())
    return {**kept, **_pieces("body", body)}


def delivery_parts(row: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Body and properties of a message that waited."""
    return _joined(row, "body"), json.loads(row.get("properties") or _joined(row, "properties"))


def inbox_row(
    headers: Headers,
    status: str,
    *,
    buckets: int,
    payload_hash: PayloadHash | None,
    now: datetime,
    code: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """The row that says that a message was dealt with, and how; code and reason tell why one is dead."""
    row = {
        "PartitionKey": partition_key(bucket_of(headers.key, buckets)),
        "RowKey": inbox_key(headers.message_id),
        "status": status,
        "lane": headers.lane.value,
        "eventType": headers.event_type,
        "version": headers.version,
        "key": headers.key,
        "attempt": headers.attempt,
        "correlationId": headers.correlation_id,
        "acceptedAt": headers.first_attempt_at,
        "processedAt": now,
        **({"payloadSha256": ""} if payload_hash is None else payload_hash.columns()),
        "sender": headers.sender or "",
        "source": headers.source,
        **({"request": headers.request} if headers.request else {}),
    }
    return row if code is None else {**row, "code": code, "reason": (reason or "")[:_LONGEST_REASON]}


def _pieces(column: str, content: bytes) -> dict[str, bytes]:
    starts = range(0, len(content), _CHUNK)
    return {f"{column}{number}": content[start : start + _CHUNK] for number, start in enumerate(starts)}


def _joined(row: Mapping[str, Any], column: str) -> bytes:
    pieces: list[bytes] = []
    while (piece := row.get(f"{column}{len(pieces)}")) is not None:
        pieces.append(bytes(piece))
    return b"".join(pieces)
