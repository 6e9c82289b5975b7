"""Replays of many dead letters as they go: how far each is, and that somebody wants it to stop.

A run has a row of its own, which it alone writes; whoever stops it writes another beside it. A run that was killed is
known by the time of its last sign of life. What it has not handed over is open as before: the next replay goes on.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.tables import Delete, Query, Table, Upsert

from .ramp import STORAGE_ERRORS, Report
from .redrive import Decision

__all__ = ["ReplayRun", "RunBook", "RunState"]

PARTITION = "replays"
_STOP = "stop:"
_EVERY = 1.0
"""Seconds between two signs of life."""
LOST_AFTER = timedelta(minutes=3)
"""A wave waits for its outcomes 60 seconds as a rule; a run that says nothing for so long was killed."""
KEPT = 50
SHOWN_FOR = timedelta(days=30)
_UNREAD = 5
"""So many times in a row, a second apart, a run goes on that can't read whether it must stop."""
_KEYS = ("PartitionKey", "RowKey")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """How far a run is; `ended` is None while it goes on, else `done` or why it stopped."""

    run: str
    by: str
    reason: str
    began: datetime
    seen: datetime
    report: dict[str, Any] = field(default_factory=dict)
    ended: str | None = None

    def lost(self, now: datetime) -> bool:
        """Whether it was killed."""
        return self.ended is None and now - self.seen > LOST_AFTER


class RunBook:
    """Keeps runs in a table, beside other rows."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def begin(self, run: str, decision: Decision, *, clock: Callable[[], float]) -> "ReplayRun":
        """A run that is about to begin."""
        now = self._now()
        return ReplayRun(self, RunState(run=run, by=decision.by, reason=decision.reason, began=now, seen=now), clock)

    async def write(self, state: RunState) -> RunState:
        """Say how far a run is."""
        state = replace(state, seen=self._now())
        row = {
            "PartitionKey": PARTITION,
            "RowKey": state.run,
            "by": state.by[:200],
            "reason": state.reason[:1_000],
            "began": state.began,
            "seen": state.seen,
            "report": json.dumps(state.report)[:30_000],
            **({} if state.ended is None else {"ended": state.ended[:1_000]}),
        }
        await self._table.submit([Upsert(row)])
        return state

    async def ask_to_stop(self, run: str, decision: Decision) -> None:
        """Have a run stop at its next step."""
        row = {
            "PartitionKey": PARTITION,
            "RowKey": f"{_STOP}{run}",
            "by": decision.by[:200],
            "reason": decision.reason[:1_000],
        }
        await self._table.submit([Upsert(row)])

    async def why_to_stop(self, run: str) -> str | None:
        """Who asked a run to stop, and why; None where nobody did."""
        row = await self._table.get(PARTITION, f"{_STOP}{run}")
        return None if row is None else f"{row['by']} asked for it: {row['reason']}"

    async def all(self) -> list[RunState]:
        """The last runs, of `SHOWN_FOR` at most, newest first."""
        recent = Query(partition=PARTITION, first=_first(self._now() - SHOWN_FOR), end=_STOP)
        found = [
            RunState(
                run=str(row["RowKey"]),
                by=str(row["by"]),
                reason=str(row["reason"]),
                began=row["began"],
                seen=row["seen"],
                report=json.loads(row["report"]),
                ended=row.get("ended"),
            )
            async for row in self._table.query(recent)
        ]
        return sorted(found, key=lambda one: (one.began, one.run), reverse=True)[:KEPT]

    async def sweep(self, before: datetime) -> int:
        """Delete runs of earlier days, and who stopped them; returns how many rows there were."""
        count = 0
        for kind in ("", _STOP):
            query = Query(partition=PARTITION, first=kind, end=f"{kind}{_first(before)}", select=_KEYS)
            async for row in self._table.query(query):
                await self._table.submit([Delete(row)])
                count += 1
        return count


def _first(moment: datetime) -> str:
    """The first name that a run of a day may have."""
    return f"{moment:%Y%m%d}"


class ReplayRun:
    """One run's signs of life; `look` is what `RedriveRun` asks between its steps.

    A table that doesn't answer ends no run at once: what was handed over is on its way, and is to be judged.
    """

    def __init__(self, book: RunBook, state: RunState, clock: Callable[[], float]) -> None:
        self._book = book
        self._state = state
        self._clock = clock
        self._due = 0.0
        self._unread = 0

    async def look(self, report: Report) -> str | None:
        """Note the progress, at most once a second; returns why the run must stop, if it must."""
        if self._clock() < self._due:
            return None
        self._due = self._clock() + _EVERY
        with suppress(*STORAGE_ERRORS):
            self._state = await self._book.write(replace(self._state, report=_counts(report)))
        try:
            why = await self._book.why_to_stop(self._state.run)
        except STORAGE_ERRORS as error:
            self._unread += 1
            return f"nobody could stop it: the state doesn't answer ({error})" if self._unread >= _UNREAD else None
        self._unread = 0
        return why

    async def end(self, report: Report | None, *, failed: str | None = None) -> None:
        """Note how it ended; where that can't be written, it looks as if it had been killed."""
        counts = self._state.report if report is None else _counts(report)
        ended = failed or (report.stopped if report is not None else None) or "done"
        with suppress(*STORAGE_ERRORS):
            self._state = await self._book.write(replace(self._state, report=counts, ended=ended))


def _counts(report: Report) -> dict[str, Any]:
    return {
        "handedOver": report.handed_over,
        "actions": {action.value: count for action, count in sorted(report.actions.items())},
        "outcomes": {outcome.value: count for outcome, count in sorted(report.outcomes.items())},
    }
