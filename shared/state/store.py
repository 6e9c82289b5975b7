"""The state table: its buckets, its rows by kind, and few verbs: grouped look-ups and one transaction per bucket.

Limits from "Understanding the Table service data model": a text property holds 64 KiB of UTF-16, a binary
property 64 KiB, an entity 1 MiB; keys may not hold `/ \\ # ?` or control characters.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from shared.messages import Headers, PayloadHash
from shared.tables import MAX_OPERATIONS, Condition, Conflict, Create, Delete, Operation, Query, Table, Upsert

__all__ = [
    "MAX_VALUE_BYTES",
    "Row",
    "StateMismatch",
    "StateStore",
    "TooLarge",
    "bucket_of",
    "call_key",
    "delivery_columns",
    "delivery_parts",
    "inbox_key",
    "inbox_row",
    "outbox_key",
    "pack",
    "parked_key",
    "partition_key",
    "retry_key",
    "row_safe",
    "rows_of",
    "sequence_key",
    "state_key",
    "unpack",
    "waiting_key",
]

Row = Mapping[str, Any]
MAX_READS = 64
"""Point reads side by side."""
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


def call_key(message_id: object, call: str) -> str:
    """Row of a partner's answer to one call of a message."""
    return f"call:{message_id}:{call}"


def retry_key(message_id: object) -> str:
    """Row of a message that is tried again: which attempt comes, and when."""
    return f"retry:{message_id}"


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


class StateMismatch(RuntimeError):
    """The settings disagree with how the state table was laid out when it was made."""


class StateStore:
    """Reads and writes the buckets, spread over one or more accounts."""

    def __init__(self, tables: Sequence[Table], *, buckets: int) -> None:
        self._tables = tuple(tables)
        self.buckets = buckets
        self._ready = False
        self._opening = asyncio.Lock()
        self._reading = asyncio.Semaphore(MAX_READS)

    async def open(self) -> None:
        """Make the table where it is missing, and check that its layout is the one in the settings.

        Raises
        ------
        StateMismatch
            The number or order of buckets or accounts was changed: keys would be looked up in the wrong place.
        """
        if self._ready:
            return
        async with self._opening:
            if not self._ready:
                await asyncio.gather(*(self._open(number) for number in range(len(self._tables))))
                self._ready = True

    async def probe(self) -> None:
        """Read from every account, whatever is known of it; raises as `open` does, and what the store raises."""
        await asyncio.gather(*(self._open(number) for number in range(len(self._tables))))

    async def _open(self, number: int) -> None:
        table = self._tables[number]
        layout = {"buckets": self.buckets, "accounts": len(self._tables), "account": number}
        found = await table.get("layout", "layout")
        if found is None:
            with suppress(Conflict):  # another instance starts at the same moment
                await table.submit([Create({"PartitionKey": "layout", "RowKey": "layout", **layout})])
            found = await table.get("layout", "layout")
        born = None if found is None else {name: found.get(name) for name in layout}
        if born != layout:
            raise StateMismatch(
                f"The state table was laid out with {born}, the settings say {layout}: set SLUICE_STATE_BUCKETS and "
                "State as they were, or move the state to a new table first."
            )

    def _table(self, bucket: int) -> Table:
        return self._tables[bucket % len(self._tables)]

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows of a bucket that exist, by row key.

        Each is a point read, side by side: a filter of several row keys would scan the whole bucket, and take longer
        with every message that it remembers ("Design for querying", Azure Table storage).
        """
        await self.open()
        keys = list(dict.fromkeys(row_keys))
        rows = await asyncio.gather(*(self._get(bucket, key) for key in keys))
        return {key: row for key, row in zip(keys, rows, strict=True) if row is not None}

    async def _get(self, bucket: int, row_key: str) -> Row | None:
        async with self._reading:
            return await self._table(bucket).get(partition_key(bucket), row_key)

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> list[str | None]:
        """Do all operations or none; returns the new version of each row.

        Raises
        ------
        Conflict
            A row to create exists, or a row to replace or delete has changed or gone.
        """
        await self.open()
        if operations and operations[0].row["PartitionKey"] != partition_key(bucket):
            raise ValueError("one transaction changes rows of one bucket")
        return await self._table(bucket).submit(operations)

    async def keep_retry(self, headers: Headers, *, when: datetime, now: datetime) -> None:
        """Keep when the next attempt of a message comes, in place of what was kept of the one before."""
        bucket = bucket_of(headers.key, self.buckets)
        row = {"attempt": headers.attempt, "nextTry": when, "keptAt": now}
        place = {"PartitionKey": partition_key(bucket), "RowKey": retry_key(headers.message_id)}
        await self.commit(bucket, [Upsert({**place, **row})])

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """Delete rows in groups; a row that is gone already is fine."""
        keys = list(row_keys)
        for start in range(0, len(keys), MAX_OPERATIONS):
            group = keys[start : start + MAX_OPERATIONS]
            rows = [{"PartitionKey": partition_key(bucket), "RowKey": key} for key in group]
            try:
                await self.commit(bucket, [Delete(row) for row in rows])
            except Conflict:  # somebody else was first with one of them: one at a time
                for row in rows:
                    with suppress(Conflict):
                        await self.commit(bucket, [Delete(row)])

    async def outbox(self, bucket: int, key: str | None = None) -> AsyncIterator[Row]:
        """The rows of a bucket, or of one aggregate in it, that are still to be published, in order."""
        async for row in self._range(bucket, *rows_of("outbox", key)):
            if key is None or row["subject"] == key:
                yield row

    async def _range(
        self, bucket: int, first: str, end: str, *, where: Sequence[Condition] = (), select: Sequence[str] = ()
    ) -> AsyncIterator[Row]:
        await self.open()
        query = Query(partition=partition_key(bucket), first=first, end=end, where=where, select=select)
        async for row in self._table(bucket).query(query):
            yield row

    async def parked(self, bucket: int) -> AsyncIterator[Row]:
        """The parked keys of a bucket."""
        async for row in self._range(bucket, *rows_of("parked")):
            yield row

    async def waiting_claims(self, bucket: int) -> AsyncIterator[str]:
        """The claims of the messages of a bucket that wait behind a parked key."""
        async for row in self._range(bucket, *rows_of("waiting"), select=["claim"]):
            if row["claim"]:
                yield str(row["claim"])

    async def settled(self, bucket: int, *, before: datetime) -> AsyncIterator[str]:
        """Row keys of inbox records that were settled before a moment, and of partners' answers and retries before it.

        Open replays are left out.
        """
        where = [Condition("processedAt", "lt", before), Condition("status", "ne", "replaying")]
        async for row in self._range(bucket, *rows_of("inbox"), where=where, select=["RowKey"]):
            yield str(row["RowKey"])
        where = [Condition("keptAt", "lt", before)]
        for kind in ("call", "retry"):
            async for row in self._range(bucket, *rows_of(kind), where=where, select=["RowKey"]):
                yield str(row["RowKey"])

    async def values_in_use(self, names: Collection[str]) -> set[str]:
        """Of some names of large values those that a row still refers to; a name begins with `<bucket>/<row key>:`.

        Any other name isn't ours to give up: it counts as in use.
        """
        places: dict[int, set[str]] = {}
        used: set[str] = set()
        for name in names:
            bucket, _, row_key = name.rpartition(":")[0].partition("/")
            if bucket.isdecimal() and row_key:
                places.setdefault(int(bucket), set()).add(row_key)
            else:
                used.add(name)
        for bucket_number, row_keys in places.items():
            found = await self.find(bucket_number, row_keys)
            used |= {str(row["valueBlob"]) for row in found.values() if "valueBlob" in row}
        return used & set(names)

    async def close(self) -> None:
        """Close the tables' HTTP sessions."""
        for table in self._tables:
            await table.close()
