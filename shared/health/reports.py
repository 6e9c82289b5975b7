"""What one app reports of its dependencies to the others: a row for each component."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.tables import Query, Table, Upsert

from .component import Component, Status

__all__ = ["Reports"]

PARTITION = "health"
LATE_SECONDS = 90.0
"""A report counts for so long; then whoever should report doesn't run."""
GRACE_SECONDS = 120.0
"""In the first minutes of a process what was never reported isn't missed: a new stage has to begin somewhere."""
MOST_DATA = 30_000
"""Characters of a component's figures: a column of a table holds 32,767."""


class Reports:
    """Writes and reads them.

    Parameters
    ----------
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self, table: Table, *, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._now = now
        self._clock = clock
        self._began = clock()

    async def write(self, components: Iterable[Component]) -> None:
        """Report; what was reported under the same names is replaced."""
        at = self._now()
        rows = [_row(one, at) for one in components]
        if rows:
            await self._table.submit([Upsert(row) for row in rows])

    async def read(self, expected: Collection[str]) -> list[Component]:
        """What was reported lately under some names, and those of them that should have been."""
        now = self._now()
        found = {row["RowKey"]: row async for row in self._table.query(Query(partition=PARTITION))}
        reported = {name: _component(row, now) for name, row in found.items() if name in expected}
        if self._clock() - self._began >= GRACE_SECONDS:
            for name in expected:
                reported.setdefault(name, _missing(name, "Was never reported."))
        return [reported[name] for name in sorted(reported)]

    async def close(self) -> None:
        """Close the table's connections."""
        await self._table.close()


def _missing(name: str, description: str, weight: float = 0.0) -> Component:
    return Component(name=name, status=Status.DEGRADED, description=description, weight=weight)


def _row(one: Component, at: datetime) -> dict[str, Any]:
    data = json.dumps(dict(one.data), default=str)
    return {
        "PartitionKey": PARTITION,
        "RowKey": one.name,
        "status": one.status.value,
        "description": one.description[:1_000],
        "data": data if len(data) <= MOST_DATA else "{}",
        "weight": float(one.weight),
        "reportedAt": at,
    }


def _component(row: Mapping[str, Any], now: datetime) -> Component:
    """A row as a component; one that is late, or of a clock that was wrong, is no news of anything."""
    name = str(row["RowKey"])
    try:
        weight, age = float(row["weight"]), (now - row["reportedAt"].astimezone(UTC)).total_seconds()
        data, status, description = json.loads(row["data"]), Status(row["status"]), str(row["description"])
        figures = {**data, "age": f"{max(0.0, age):.0f}s"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return _missing(name, "The report can't be read.")
    if abs(age) > LATE_SECONDS:
        return _missing(name, f"Last reported {age:.0f} s ago.", weight)
    return Component(name=name, status=status, description=description, data=figures, weight=weight)
