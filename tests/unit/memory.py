"""The stores and senders of the app in memory, with the atomicity of the real ones: edges for unit tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.claim_check import Claim, ClaimMissing
from shared.dead_letters import DeadLetter
from shared.dead_letters.rows import to_row
from shared.messages import Headers
from shared.query import ViewRow
from shared.sending import OutgoingEvent
from shared.state import Row, partition_key
from shared.tables import Entity, Operation
from shared.testing import MemoryStore

__all__ = [
    "Edge",
    "MemoryClaims",
    "MemoryDeadLetters",
    "MemoryLanes",
    "MemoryPublisher",
    "MemoryState",
    "MemoryViews",
    "claim_of",
]


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


class MemoryState(Edge, MemoryStore):
    """The state store over a table in memory, whose calls may fail."""

    def __init__(self, buckets: int = 4) -> None:
        Edge.__init__(self)
        MemoryStore.__init__(self, buckets=buckets)
        self.transactions: list[list[Operation]] = []
        self.finds = 0

    async def open(self) -> None:
        """Its layout is nobody's concern here."""
        self._meet()

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        """The rows that exist."""
        self.finds += 1
        await asyncio.sleep(0)
        return await super().find(bucket, row_keys)

    async def commit(self, bucket: int, operations: Sequence[Operation]) -> None:
        """All or nothing."""
        await asyncio.sleep(0)
        await super().commit(bucket, operations)
        self.transactions.append(list(operations))

    async def delete(self, bucket: int, row_keys: Iterable[str]) -> None:
        """What is gone already is fine."""
        self._meet()
        for key in row_keys:
            self.table.rows.pop((partition_key(bucket), key), None)

    def keys(self, prefix: str) -> list[str]:
        """Row keys that begin so, of every bucket."""
        return sorted(key for _, key in self.rows if key.startswith(prefix))

    def inbox(self, message_id: UUID) -> Entity | None:
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
        self.facts: list[OutgoingEvent] = []

    async def publish(self, facts: Sequence[OutgoingEvent]) -> None:
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
