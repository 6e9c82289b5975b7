"""Which events a table has already: an event that was published twice has the same id and the same time.

The files that may hold the time of an event are known from the table's log, by their least and greatest times. Events
that come in order are later than all of them, and nothing is read; for late and repeated ones the ids of their times
are read.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.lake.tables import LakeStore, Layer
from shared.messages import CloudEvent, rfc3339

from .tables import DAY

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["known_ids"]

_TICK = timedelta(milliseconds=1)
"""Delta's statistics may be cut to milliseconds (Delta transaction log protocol, per-file statistics)."""


async def known_ids(store: LakeStore, name: str, table: "DeltaTable", events: Sequence[CloudEvent]) -> set[str]:
    """The ids, at least of those of these events that the table has at the version of its handle."""
    times: dict[str, list[datetime]] = {}
    for event in events:
        times.setdefault(rfc3339(event.time)[:10], []).append(event.time)
    if not times:
        return set()
    return await store.run(Layer.SILVER, name, _known_ids, table, {day: sorted(own) for day, own in times.items()})


def _known_ids(table: "DeltaTable", times: dict[str, list[datetime]]) -> set[str]:
    ranges = _ranges(table, times)
    if not ranges:
        return set()
    from deltalake import QueryBuilder

    wanted = " OR ".join(
        f"({DAY} = DATE '{day}' AND event_time BETWEEN '{rfc3339(low - _TICK)}' AND '{rfc3339(high + _TICK)}')"
        for day, (low, high) in sorted(ranges.items())
    )
    found = QueryBuilder().register("rows", table).execute(f"SELECT DISTINCT event_id FROM rows WHERE {wanted}")  # noqa: S608
    return {event_id for batch in found for event_id in batch["event_id"].to_pylist()}


def _ranges(table: "DeltaTable", times: dict[str, list[datetime]]) -> dict[str, tuple[datetime, datetime]]:
    """By day: from when to when some of these times lie within those of a file."""
    actions = table.get_add_actions(flatten=True)
    if not actions.num_rows:
        return {}
    names = set(actions.schema.names)
    nothing = [None] * actions.num_rows
    lows = actions["min.event_time"].to_pylist() if "min.event_time" in names else nothing
    highs = actions["max.event_time"].to_pylist() if "max.event_time" in names else nothing
    found: dict[str, tuple[datetime, datetime]] = {}
    for day, low, high in zip(actions[f"partition.{DAY}"].to_pylist(), lows, highs, strict=True):
        own = times.get(str(day))
        if own is None:
            continue
        first = 0 if low is None else bisect_left(own, low - _TICK)
        end = len(own) if high is None else bisect_right(own, high + _TICK)
        if first < end:
            before = found.get(str(day))
            found[str(day)] = (
                own[first] if before is None else min(own[first], before[0]),
                own[end - 1] if before is None else max(own[end - 1], before[1]),
            )
    return found
