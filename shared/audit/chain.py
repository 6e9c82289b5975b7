"""The audit trail of operators: one chain of records, each bound by SHA-256 to all before it.

A record is a text, kept as it was hashed: `hash = SHA-256(previous hash, line feed, text)`, in hex and UTF-8, and 64
zeros stand before the first. Whoever has SHA-256 can check it. A record and the head, which says how many there are,
are written in one transaction: of two writers one wins, and the other takes the next number. Time takes no part in the
order, so that a clock that jumps breaks nothing.

Whoever may write the table can write a new chain as well, or cut its end and the head. The app therefore logs the
number and hash of the last record whenever it sees a new one, and another service keeps the log: `check` takes them as
what the chain must hold.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.messages import rfc3339
from shared.tables import Conflict, Create, Query, Replace, Table
from shared.telemetry import log_event

__all__ = ["HEAD", "AuditAnchor", "AuditChain", "AuditRecord", "Finding", "StoredRecord", "check"]

PARTITION = "operators"
HEAD = "head"
"""Row key of the row that says how many records there are, and the last one's hash; it comes after all numbers."""
FIRST = "0" * 64
MAX_TEXT = 30_000
"""Characters of a record: a column of a table holds 32,767 UTF-16 units."""
_TRIES = 50
_LONGEST = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecord:
    """What an operator does, before it is done and again after it.

    Attributes
    ----------
    run:
        The same in both records of one command.
    phase:
        `begun`, or `ended`: a command without the second record was killed, or lost its store.
    by, login:
        Who says to have decided, and whose login it was.
    about:
        What it is done to, and what came of it; never a payload or a protected value.
    """

    run: str
    verb: str
    phase: str
    by: str
    login: str
    reason: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def text(self, *, number: int, at: datetime) -> str:
        """As it is kept and hashed: JSON in ASCII."""
        document = {
            "number": number,
            "at": rfc3339(at),
            "run": self.run,
            "verb": self.verb,
            "phase": self.phase,
            "by": self.by[:_LONGEST],
            "login": self.login[:_LONGEST],
            "reason": self.reason[:_LONGEST],
            "about": self.about,
        }
        text = json.dumps(document, separators=(",", ":"), default=str)
        return text if len(text) <= MAX_TEXT else json.dumps({**document, "about": {"cut": len(text)}}, default=str)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row of the chain."""

    number: int
    text: str
    hash: str

    def content(self) -> dict[str, Any]:
        """What the record says; raises ValueError where that can't be read any more."""
        read = json.loads(self.text)
        if not isinstance(read, dict):
            raise ValueError("it is no object")
        return read


@dataclass(frozen=True, slots=True)
class Finding:
    """The first place where a chain is broken; number 0 where that is the head."""

    number: int
    what: str


def hash_of(previous: str, text: str) -> str:
    """The hash of a record after another."""
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


class AuditChain:
    """Adds to the chain, and reads it.

    Parameters
    ----------
    table:
        Where it is, with other rows in other partitions.
    """

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    async def add(self, record: AuditRecord) -> StoredRecord:
        """Return when a record is part of the chain; what the store raises is passed on.

        Raises
        ------
        TimeoutError
            Other writers always were faster.
        """
        for _ in range(_TRIES):
            head = await self._table.get(PARTITION, HEAD)
            number, previous = (0, FIRST) if head is None else (int(head["number"]), str(head["hash"]))
            text = record.text(number=number + 1, at=self._now())
            made = StoredRecord(number + 1, text, hash_of(previous, text))
            row = {"PartitionKey": PARTITION, "RowKey": _key(made.number), "record": made.text, "hash": made.hash}
            new = {"PartitionKey": PARTITION, "RowKey": HEAD, "number": made.number, "hash": made.hash}
            with suppress(Conflict):
                head_written = Create(new) if head is None else Replace(new, head.etag)
                await self._table.submit([Create(row), head_written])
                return made
        raise TimeoutError("the audit trail keeps changing")

    async def records(self) -> AsyncIterator[StoredRecord]:
        """Every record in the order of their numbers."""
        async for row in self._table.query(Query(partition=PARTITION, end=HEAD)):
            yield StoredRecord(_number(row["RowKey"]), str(row.get("record", "")), str(row.get("hash", "")))

    async def head(self) -> tuple[int, str] | None:
        """How many records there should be, and the last one's hash; None where nothing was ever written."""
        row = await self._table.get(PARTITION, HEAD)
        return None if row is None else (int(row.get("number", 0)), str(row.get("hash", "")))


class AuditAnchor:
    """Logs the chain's end when it has changed since this process saw it last."""

    def __init__(self, chain: AuditChain) -> None:
        self._chain = chain
        self._seen: tuple[int, str] | None = None

    async def run(self) -> None:
        """Look once."""
        head = await self._chain.head()
        if head is not None and head != self._seen:
            log_event("audit", number=head[0], hash=head[1])
            self._seen = head


def check(
    records: Iterable[StoredRecord], head: tuple[int, str] | None, *, known: Mapping[int, str] | None = None
) -> Finding | None:
    """The first thing that is wrong with a chain; None where it is whole.

    Parameters
    ----------
    known:
        Hashes by number that were kept elsewhere, such as in the log.
    """
    previous, last = FIRST, 0
    for record in records:
        number = last + 1
        if record.number != number:
            return Finding(number, f"record {number} is missing: {record.number} follows {last}")
        if (finding := _wrong(record, previous)) is not None:
            return finding
        if known is not None and known.get(number, record.hash) != record.hash:
            return Finding(number, f"record {number} isn't the one that the log knows: the chain was written anew")
        previous, last = record.hash, number
    if missing := sorted(number for number in known or () if number > last):
        return Finding(last + 1, f"record {last + 1} is missing: the log knows {missing[-1]}, the end was cut off")
    if head is None:
        return Finding(0, "the head is missing: somebody deleted it") if last else None
    if head[0] > last:
        return Finding(last + 1, f"record {last + 1} is missing: the head counts {head[0]}, the end was cut off")
    if head != (last, previous):
        return Finding(0, f"the head says {head[0]}, and the last record is {last}: it was put back or changed")
    return None


def _wrong(record: StoredRecord, previous: str) -> Finding | None:
    number = record.number
    try:
        says = record.content().get("number")
    except ValueError:
        return Finding(number, f"record {number} was changed: it can't be read")
    if says != number:
        return Finding(number, f"record {number} was reordered or changed: it says that it is {str(says)[:20]}")
    if record.hash != hash_of(previous, record.text):
        return Finding(number, f"record {number} was changed, or one before it was: its hash isn't that of its text")
    return None


def _key(number: int) -> str:
    return f"{number:012d}"


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdigit() else 0
