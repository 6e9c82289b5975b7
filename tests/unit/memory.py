"""The stores and senders of the app in memory, with the atomicity of the real ones: edges for unit tests."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from azure.core import MatchConditions

from shared.claim_check import Claim, ClaimMissing
from shared.dead_letters import DeadLetter
from shared.dead_letters.rows import to_row
from shared.messages import Headers
from shared.query import ViewRow
from shared.sending import Fact
from shared.state import Conflict, Operation, Row, partition_key

__all__ = [
    "Edge",
    "MemoryClaims",
    "MemoryDeadLetters",
    "MemoryLanes",
    "MemoryPublisher",
    "MemoryState",
    "MemoryViews",
    "StoredRow",
    "claim_of",
]


class StoredRow(dict[str, Any]):
    """A row as the Table SDK hands it over: its etag is beside it."""

    def __init__(self, columns: Mapping[str, Any], etag: str) -> None:
        super().__init__(columns)
        self.metadata = {"etag": etag}


class Edge:
    """Something that may fail: each exception of `failures` is raised by one call, None lets a call pass."""

    def __init__(self) -> None:
        self.failures: list[BaseException | None] = []
        self.broken: BaseException | None = None
        self.probes = 0

    def _meet(self) -> None:
        if self.broken is not None:
            raise self.broken
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure

    async def probe(self) -> None:
        """Reachable unless broken."""
        self.probes += 1
        self._meet()

    async def open(self) -> None:
        """Reachable unless broken."""
        self._meet()

    async def close(self) -> None:
        """Nothing is open."""


class MemoryState(Edge):
    """The state table: a transaction is done whole or not at all, and refuses what the service refuses."""

    MAX_OPERATIONS = 100

    def __init__(self, buckets: int = 4) -> None:
        super().__init__()
        self.buckets = buckets
        self.rows: dict[tuple[str, str], StoredRow] = {}
        self.transactions: list[list[Operation]] = []
        self.finds = 0
        self._etags = itertools.count(1)

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows that exist."""
        self.finds += 1
        await asyncio.sleep(0)
        self._meet()
        partition = partition_key(bucket)
        return {key: self.rows[partition, key] for key in row_keys if (partition, key) in self.rows}

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> None:
        """All or nothing."""
        await asyncio.sleep(0)
        self._meet()
        keys = [(row["PartitionKey"], row["RowKey"]) for _, row, *_ in operations]
        if len(operations) > self.MAX_OPERATIONS or len(set(keys)) < len(keys):
            raise ValueError("400: too many rows, or the same row twice")
        if {partition for partition, _ in keys} != {partition_key(bucket)}:
            raise ValueError("400: rows of different partitions")
        if sum(self._size(row) for _, row, *_ in operations) > 4 * 1024 * 1024:
            raise ValueError("413: the transaction is too large")
        for operation in operations:
            self._check(operation)
        for verb, row, *_ in operations:
            place = (row["PartitionKey"], row["RowKey"])
            if verb == "delete":
                del self.rows[place]
            else:
                self.rows[place] = StoredRow(row, f"etag-{next(self._etags)}")
        self.transactions.append(list(operations))

    def _check(self, operation: Operation) -> None:
        verb, row, options = operation if len(operation) == 3 else (*operation, {})
        existing = self.rows.get((row["PartitionKey"], row["RowKey"]))
        guarded = options.get("match_condition") is MatchConditions.IfNotModified
        if verb == "create" and existing is not None:
            raise Conflict(row["RowKey"])
        if verb in ("update", "delete") and existing is None:
            raise Conflict(row["RowKey"])
        if guarded and (existing is None or existing.metadata["etag"] != options["etag"]):
            raise Conflict(row["RowKey"])

    @staticmethod
    def _size(row: Row) -> int:
        """Bytes of a row, where its columns and it are within the service's limits."""
        texts = [value.encode("utf-16-le") for value in row.values() if isinstance(value, str)]
        sizes = [len(value) for value in (*texts, *row.values()) if isinstance(value, bytes)]
        if max(sizes) > 65_536 or sum(sizes) > 1_048_576:
            raise ValueError("400: a column or the row is too large")
        return sum(sizes)

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """What is gone already is fine."""
        self._meet()
        for key in row_keys:
            self.rows.pop((partition_key(bucket), key), None)

    async def outbox(self, bucket: int, key: str | None = None) -> AsyncIterator[Row]:
        """What waits to be published, of one aggregate or all."""
        self._meet()
        for (partition, row_key), row in sorted(self.rows.items(), key=lambda place: place[0]):
            if partition != partition_key(bucket) or not row_key.startswith("outbox:"):
                continue
            if key is None or row["subject"] == key:
                yield row

    async def settled(self, bucket: int, *, before: datetime) -> AsyncIterator[str]:
        """Inbox records that were settled before a moment."""
        self._meet()
        for (partition, row_key), row in sorted(self.rows.items(), key=lambda place: place[0]):
            if partition != partition_key(bucket) or not row_key.startswith("inbox:"):
                continue
            if row["processedAt"] < before and row["status"] != "replaying":
                yield row_key

    def keys(self, prefix: str) -> list[str]:
        """Row keys that begin so, of every bucket."""
        return sorted(key for _, key in self.rows if key.startswith(prefix))

    def inbox(self, message_id: UUID) -> StoredRow | None:
        """The inbox record of a message, whatever its bucket."""
        found = [row for (_, key), row in self.rows.items() if key == f"inbox:{message_id}"]
        return found[0] if found else None


@dataclass
class Sent:
    """A command that a lane took."""

    headers: Headers
    body: bytes
    when: datetime | None = None


class MemoryLanes(Edge):
    """The lanes' queues."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    async def send(self, headers: Headers, body: bytes) -> None:
        """Take a command."""
        await asyncio.sleep(0)
        self._meet()
        self.sent.append(Sent(headers, body))

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        """Take a delayed copy."""
        self._meet()
        self.sent.append(Sent(headers, body, when))


class MemoryPublisher(Edge):
    """The event hub."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[Fact] = []

    async def publish(self, facts: Sequence[Fact]) -> None:
        """Take every fact."""
        self._meet()
        self.facts.extend(facts)


class MemoryDeadLetters(Edge):
    """The dead-letter store: the same letter replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: dict[str, DeadLetter] = {}
        self.rows: dict[str, dict[str, Any]] = {}

    async def put(self, letter: DeadLetter) -> None:
        """Keep a dead letter."""
        self._meet()
        self.rows[letter.id] = to_row(letter)
        self.letters[letter.id] = letter


def claim_of(message_id: UUID, payload: bytes) -> Claim:
    """The claim of a payload that is stored as it is."""
    sha256 = hashlib.sha256(payload).hexdigest()
    return Claim(Claim.name_of(message_id, sha256), sha256, len(payload))


class MemoryClaims(Edge):
    """The claims container."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: dict[str, bytes] = {}

    async def put(self, message_id: UUID, payload: bytes) -> Claim:
        """Keep a payload."""
        self._meet()
        claim = claim_of(message_id, payload)
        self.payloads[claim.name] = payload
        return claim

    async def get(self, message_id: UUID, claim: Claim) -> bytes:
        """The payload, where it is there."""
        self._meet()
        if claim.name not in self.payloads:
            raise ClaimMissing(f"The payload {claim.name!r} isn't in Blob storage.")
        return self.payloads[claim.name]


@dataclass
class MemoryViews(Edge):
    """The table of read models."""

    rows: dict[tuple[str, str], str] = field(default_factory=dict)
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    async def put(self, rows: Sequence[ViewRow]) -> None:
        """The row with the highest sequence is shown, the first of them where two have it."""
        self._meet()
        for row in rows:
            place = (row.view, row.key)
            if row.sequence > self.sequences.get(place, -1):
                self.rows[place], self.sequences[place] = row.value, row.sequence

    async def get(self, view: str, key: str) -> str | None:
        """A row's JSON."""
        self._meet()
        return self.rows.get((view, key))
