"""Which version of a view is served: a row for each view that ever was rebuilt, beside the rows of all views.

Version 1 lies under the view's own name, version 2 of `orders` under `orders@2`. The row is what flips: one write, and
every instance reads the other version within `REMEMBERED` seconds.
"""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic_core import from_json, to_json

from shared.resilience import SingleFlight
from shared.state import row_safe
from shared.tables import Conflict, Create, Entity, Query, Replace, Table

__all__ = ["REMEMBERED", "Stage", "VersionChanged", "ViewVersion", "ViewVersions", "place_of"]

REMEMBERED = 10.0
"""Seconds for which an instance may go by what it has read: what depends on all of them waits longer."""
_PARTITION = ":versions"
"""No view's: a name begins with a letter."""


class Stage(StrEnum):
    """What is done with the version beside the one that is served."""

    NONE = "none"
    """There is none."""
    BUILDING = "building"
    """It is made of what bronze and the hub hold; nothing else writes to it."""
    FOLLOWING = "following"
    """Each instance applies an event to it before it applies the event to the one that is served."""
    DIFFERS = "differs"
    """As following; the comparison found what somebody has to decide about."""
    KEPT = "kept"
    """As following; it was served before, and can be again."""
    SWEEPING = "sweeping"
    """Nothing writes to it any more, and its rows are deleted."""


FOLLOWED = frozenset({Stage.FOLLOWING, Stage.DIFFERS, Stage.KEPT})


class VersionChanged(Exception):
    """Somebody else has changed the view's versions meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewVersion:
    """The versions of one view.

    Attributes
    ----------
    live:
        The one that is served.
    other:
        The one that is built, or kept for a roll-back.
    highest:
        The highest number that was ever given.
    since:
        When the stage began.
    accepts:
        It is flipped to even where the comparison finds differences.
    events, skipped:
        How many events the other one was made of, and how many of them nobody could project.
    missing:
        By partition the first event that could still be read, where events before it are gone.
    report:
        What the last comparison found.
    """

    view: str
    live: int = 1
    other: int | None = None
    highest: int = 1
    stage: Stage = Stage.NONE
    since: datetime | None = None
    accepts: bool = False
    events: int = 0
    skipped: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    etag: str | None = None

    @property
    def followed(self) -> int | None:
        """The version that every event is applied to as well."""
        return self.other if self.stage in FOLLOWED else None

    @property
    def places(self) -> list[str]:
        """Where rows of the view lie."""
        return [place_of(self.view, one) for one in (self.live, self.other) if one is not None]

    def to_json(self) -> dict[str, Any]:
        """As operators see it."""
        return {
            "view": self.view,
            "live": self.live,
            "other": self.other,
            "stage": self.stage.value,
            "since": None if self.since is None else self.since.isoformat(),
            "events": self.events,
            "skipped": self.skipped,
            "missingBefore": self.missing,
            "comparison": self.report,
        }


def place_of(view: str, version: int) -> str:
    """The name under which the rows of a version lie."""
    return view if version == 1 else f"{view}@{version}"


class ViewVersions:
    """The rows that say which versions there are; an instance remembers them for `remembered` seconds.

    Parameters
    ----------
    clock:
        Seconds that only ever grow.
    """

    def __init__(
        self, table: Table, *, clock: Callable[[], float] = time.monotonic, remembered: float = REMEMBERED
    ) -> None:
        self._table = table
        self._clock = clock
        self._remembered = remembered
        self._known: dict[str, ViewVersion] = {}
        self._read_at: float | None = None
        self._reading: SingleFlight[None] = SingleFlight(clock)
        self._pinned: ContextVar[dict[str, ViewVersion] | None] = ContextVar("pinned", default=None)

    async def of(self, view: str) -> ViewVersion:
        """The versions of a view, as they were at most `remembered` seconds ago."""
        return (await self.every()).get(view) or ViewVersion(view=view)

    @asynccontextmanager
    async def pinned(self) -> AsyncGenerator[dict[str, ViewVersion], None]:
        """By view the versions that all work within goes by: what is applied to one is applied to the other."""
        found = await self.every()
        token = self._pinned.set(found)
        try:
            yield found
        finally:
            self._pinned.reset(token)

    async def every(self) -> dict[str, ViewVersion]:
        """By view what is remembered; looked for anew in time, so that hardly any read waits for it."""
        if (pinned := self._pinned.get()) is not None:
            return pinned
        age = None if self._read_at is None else self._clock() - self._read_at
        if age is None or age >= self._remembered:
            if (begun := self._reading.get(None)) is not None:  # nobody knows for how long it has been at it
                await begun.wait()
            await self._reading.call(None, self._read)
        elif age >= self._remembered / 2:
            self._reading.start(None, self._read)
        return self._known

    async def place(self, view: str) -> str:
        """Where the rows of the served version lie."""
        return place_of(view, (await self.of(view)).live)

    async def places(self, view: str) -> Sequence[str]:
        """Where rows of any version lie that events are applied to."""
        found = await self.of(view)
        return found.places if found.followed is not None else [await self.place(view)]

    async def _read(self) -> None:
        began = self._clock()
        found: dict[str, ViewVersion] = {}
        async with aclosing(self._table.query(Query(partition=_PARTITION))) as rows:
            async for row in rows:
                one = _version(row)
                found[one.view] = one
        self._known, self._read_at = found, began

    async def now(self, view: str) -> ViewVersion:
        """The versions of a view as they are stored at this moment."""
        row = await self._table.get(_PARTITION, row_safe(view))
        return ViewVersion(view=view) if row is None else _version(row)

    async def change(self, known: ViewVersion, **changes: Any) -> ViewVersion:
        """Store what is to be changed of what was read before.

        Raises
        ------
        VersionChanged
        """
        wanted = replace(known, **changes)
        row = _row(wanted)
        try:
            (etag,) = await self._table.submit([Create(row) if known.etag is None else Replace(row, known.etag)])
        except Conflict:
            raise VersionChanged(f"the versions of {known.view} were changed by somebody else") from None
        return replace(wanted, etag=etag)

    async def close(self) -> None:
        """Stop reading, and close the table's connections."""
        await self._reading.close()
        await self._table.close()


def _row(one: ViewVersion) -> dict[str, Any]:
    columns = {
        "PartitionKey": _PARTITION,
        "RowKey": row_safe(one.view),
        "view": one.view,
        "live": one.live,
        "highest": one.highest,
        "stage": one.stage.value,
        "accepts": one.accepts,
        "events": one.events,
        "skipped": one.skipped,
        "missing": to_json(one.missing).decode(),
        "report": to_json(one.report).decode(),
    }
    optional = {"other": one.other, "since": one.since}
    return columns | {name: value for name, value in optional.items() if value is not None}


def _version(row: Entity) -> ViewVersion:
    return ViewVersion(
        view=row["view"],
        live=int(row["live"]),
        other=None if row.get("other") is None else int(row["other"]),
        highest=int(row["highest"]),
        stage=Stage(row["stage"]),
        since=row.get("since"),
        accepts=bool(row["accepts"]),
        events=int(row["events"]),
        skipped=int(row["skipped"]),
        missing=from_json(row["missing"]),
        report=from_json(row["report"]),
        etag=row.etag,
    )
