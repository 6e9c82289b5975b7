"""What is known of each job: its lease, when it is due, and how its last run went; one row a job."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from shared.tables import Create, Query, Replace, Table, etag_of

__all__ = ["JobRecord", "JobRecords", "Outcome"]

PARTITION = "jobs"
REQUEST_SECONDS = 15.0
"""Longer, and the store counts as away: with all its retries a request could take longer than any lease holds."""


class Outcome(StrEnum):
    """How a run ended."""

    DONE = "done"
    MORE = "more"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """The row of a job.

    Attributes
    ----------
    due:
        When it is to run next, or should have begun.
    holder, until:
        Who runs it, and until when nobody else may; empty where nobody does.
    run_due, started_at, ended_at, outcome, reason:
        The last run that was begun: when it was due, and how it went; `reason` is the kind of an error.
    last_success:
        When the last run that did all its work was due.
    version:
        The row's ETag; None for one that isn't stored yet.
    """

    name: str
    due: datetime
    holder: str = ""
    until: datetime | None = None
    run_due: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""
    last_success: datetime | None = None
    version: str | None = None

    def leased_at(self, now: datetime) -> bool:
        """Whether somebody's lease holds at a moment."""
        return bool(self.holder) and self.until is not None and self.until > now

    @property
    def seconds(self) -> float | None:
        """How long the last run took; None while it runs, or where its process died."""
        if self.started_at is None or self.ended_at is None or self.ended_at < self.started_at:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class JobRecords:
    """Reads and writes the rows, each under its version: whoever is second meets a Conflict.

    A store that doesn't answer raises TimeoutError; what was asked of it may happen all the same.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def find(self, name: str) -> JobRecord | None:
        """A job's record; None where it never came due."""
        async with asyncio.timeout(REQUEST_SECONDS):
            row = await self._table.get(PARTITION, name)
        return None if row is None else _record(row)

    async def every(self) -> list[JobRecord]:
        """The records of all jobs, by name."""
        return [_record(row) async for row in self._table.query(Query(partition=PARTITION))]

    async def write(self, record: JobRecord) -> JobRecord:
        """Store a record over the version that it was read in; returned with the new one.

        Raises
        ------
        Conflict
            Somebody else was first.
        """
        row = _row(record)
        operation = Create(row) if record.version is None else Replace(row, record.version)
        async with asyncio.timeout(REQUEST_SECONDS):
            (version,) = await self._table.submit([operation])
        return replace(record, version=version)

    async def close(self) -> None:
        """Close the table's connections."""
        await self._table.close()


_MOMENTS = {
    "until": "until",
    "run_due": "runDue",
    "started_at": "startedAt",
    "ended_at": "endedAt",
    "last_success": "lastSuccess",
}


def _row(record: JobRecord) -> dict[str, Any]:
    moments = {column: getattr(record, field) for field, column in _MOMENTS.items()}
    return {
        "PartitionKey": PARTITION,
        "RowKey": record.name,
        "due": record.due,
        "holder": record.holder,
        "outcome": "" if record.outcome is None else record.outcome.value,
        "reason": record.reason,
        **{column: moment for column, moment in moments.items() if moment is not None},
    }


def _record(row: Mapping[str, Any]) -> JobRecord:
    moments = {field: _moment(row[column]) for field, column in _MOMENTS.items() if row.get(column) is not None}
    return JobRecord(
        name=row["RowKey"],
        due=_moment(row["due"]),
        holder=row["holder"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        reason=row["reason"],
        version=etag_of(row),
        **moments,
    )


def _moment(stored: datetime) -> datetime:
    """In UTC and of the plain class: the SDK's own carries the service's text along."""
    utc = stored.astimezone(UTC)
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=UTC)
