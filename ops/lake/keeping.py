"""Brings the lake up to date at once, and builds it anew, with a line for every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from functions.composition import Composition
from functions.composition.gold import gold_tables
from functions.composition.silver import silver_ingest, silver_rebuild, silver_source
from shared.lake.gold import GoldTable
from shared.lake.silver import Applied
from shared.lake.tables import CommitConflict, LakeError

__all__ = ["catch_up", "rebuild"]

_TRIES = 10
_SECONDS = 3_600.0


async def catch_up(composition: Composition, say: Callable[[str], None]) -> None:
    """Silver up to the hub's end as it is now, then gold; beside the jobs, which may be at it too.

    Raises
    ------
    LakeError, BronzeError, LogUnavailable
    """
    ends = time.monotonic() + _SECONDS
    source = composition.get(silver_source)
    for attempt in range(1, _TRIES + 1):
        ingest = await silver_ingest(composition)
        try:
            applied, _ = await ingest.catch_up(source, lambda: ends - time.monotonic())
            break
        except LakeError:  # the job commits the same at this moment: what it has done isn't done again
            if attempt == _TRIES:
                raise
    _say_silver(applied, say)
    for error in applied.failed.values():
        raise error
    await _compute(composition, list(composition.get(gold_tables).values()), say, whole=False)


async def rebuild(composition: Composition, say: Callable[[str], None], *, gold: str | None = None) -> None:
    """Silver anew from bronze and the hub, beside what is read, and gold anew from silver; or one gold table alone.

    Raises
    ------
    LakeError, BronzeError, LogUnavailable
    """
    tables = composition.get(gold_tables)
    if gold is None:
        say("silver: being built anew from bronze")
        applied = await (await silver_rebuild(composition)).run(composition.get(silver_source))
        _say_silver(applied, say)
    await _compute(composition, list(tables.values()) if gold is None else [tables[gold]], say, whole=True)


async def _compute(
    composition: Composition, tables: Sequence[GoldTable], say: Callable[[str], None], *, whole: bool
) -> None:
    for table in tables:
        for attempt in range(1, _TRIES + 1):
            try:
                done = await table.refresh(whole=whole)
                break
            except CommitConflict:  # the job has computed it at this moment
                if attempt == _TRIES:
                    raise
        days = "all of it" if done.days is None else f"{done.days} days"
        say(f"{table.gold.table}: {done.rows:,} rows computed, {days}, version {done.version}")


def _say_silver(applied: Applied, say: Callable[[str], None]) -> None:
    for name, rows in sorted(applied.rows.items()):
        say(f"silver.{name}: {rows:,} rows")
    say(f"silver: {applied.events:,} events, {applied.duplicates:,} repeated, {applied.quarantined:,} quarantined")
