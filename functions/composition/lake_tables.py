"""The lake's tables over time: kept fast and small, and what leads to erased persons taken out of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from functions.triggers import AppName
from shared.jobs import Job, JobRun, parse_schedule
from shared.lake.silver import STAGED, UNREADABLE, erase_rows, lines_of
from shared.lake.tables import Layer, Retention, maintain_all
from shared.telemetry import log_event

from .capability import Capability
from .composition import Composition
from .declaring import Access, Need
from .encryption import SUBJECT_KEYS, subject_keys
from .lake import TABLES, lake_store

__all__ = ["capability"]

_MAINTAIN, _ERASE = "maintain-lake", "erase-from-lake"
_LOOKED_BACK = timedelta(days=1)
"""Erasures are looked at again for so long: rows of an event that was under way may have come after them."""


def capability(composition: Composition) -> Capability:
    """Two jobs, where the settings name a lake."""
    if composition.settings.lake is None:
        return Capability(name="lake-tables")

    async def maintain_tables(run: JobRun) -> bool:
        store = composition.get(lake_store)
        return await maintain_all(store, _tables(composition), Retention(), time_left=run.time_left)

    async def erase(run: JobRun) -> None:
        keys = composition.get(subject_keys)
        if keys is None:
            return  # nobody can be erased
        begin = datetime(2000, 1, 1, tzinfo=UTC) if run.last_success is None else run.last_success - _LOOKED_BACK
        erased = await keys.erased_since(begin)
        lines = lines_of(composition.registry.silvers)
        rows = await erase_rows(composition.get(lake_store), lines, keys=erased)
        if rows:
            log_event("erased persons taken out of the lake", rows=rows)

    return Capability(
        name="lake-tables",
        jobs=[
            Job(name=_MAINTAIN, app=AppName.LAKE, schedule=parse_schedule("0 37 * * * *"), call=maintain_tables),
            Job(name=_ERASE, app=AppName.LAKE, schedule=parse_schedule("0 17 * * * *"), call=erase),
        ],
        needs=[
            Need(access=Access.WRITE, to=TABLES, why="Puts small files together and deletes old ones.", by=[_MAINTAIN]),
            Need(access=Access.WRITE, to=TABLES, why="Takes erased persons out of rows.", by=[_ERASE]),
            Need(
                access=Access.READ,
                to=SUBJECT_KEYS,
                why="Knows who was erased.",
                when="SLUICE_DATA_KEY",
                by=[_ERASE],
            ),
        ],
    )


def _tables(composition: Composition) -> Sequence[tuple[Layer, str]]:
    """Every table that may be there, those that are built anew beside the others too."""
    lines = lines_of(composition.registry.silvers)
    silver = [(Layer.SILVER, table.name) for line in lines for table in line.tables]
    quarantine = [
        (Layer.QUARANTINE, name) for name in dict.fromkeys([*(line.quarantine for line in lines), UNREADABLE])
    ]
    staged = [(layer, f"{STAGED}{name}") for layer, name in (*silver, *quarantine)]
    return [*silver, *quarantine, *((Layer.GOLD, gold.name) for gold in composition.registry.golds), *staged]
