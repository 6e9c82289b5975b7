"""Gold: a job for each table of aggregates that an integration declares."""

from collections.abc import Mapping

from functions.triggers import AppName
from shared.jobs import Job, JobRun
from shared.lake.gold import GoldTable
from shared.lake.silver import lines_of
from shared.lake.tables import CommitConflict
from shared.telemetry import log_event

from .capability import Capability, Command
from .composition import Composition
from .declaring import Access, Need
from .lake import TABLES, lake_store

__all__ = ["capability", "gold_tables"]


def gold_tables(composition: Composition) -> Mapping[str, GoldTable]:
    """Every gold table, by its name."""
    store = composition.get(lake_store)
    silver = {table.name: table for line in lines_of(composition.registry.silvers) for table in line.tables}
    return {
        gold.name: GoldTable(gold, store, schema_of=lambda name: silver[name].schema())
        for gold in composition.registry.golds
    }


def capability(composition: Composition) -> Capability:
    """The jobs, where the settings name a lake.

    Raises
    ------
    ValueError
        A gold table reads a silver table that nobody declares.
    """
    known = {table.name for line in lines_of(composition.registry.silvers) for table in line.tables}
    for gold in composition.registry.golds:
        if unknown := [one.table for one in gold.sources if one.table not in known]:
            raise ValueError(f"{gold.table} reads silver.{unknown[0]}, which nobody declares")
    command = Command(name="lake", summary="what is in the lake, SQL over it, tables as files", module="ops.lake")
    if composition.settings.lake is None or not composition.registry.golds:
        return Capability(name="gold", commands=[command])
    jobs = [_job(composition, gold.name) for gold in composition.registry.golds]
    why = "Computes gold tables from silver ones."
    return Capability(
        name="gold",
        jobs=jobs,
        commands=[command],
        needs=[Need(access=Access.WRITE, to=TABLES, why=why, by=[job.name for job in jobs])],
    )


def _job(composition: Composition, name: str) -> Job:
    gold = next(one for one in composition.registry.golds if one.name == name)

    async def call(_: JobRun) -> bool:
        try:
            done = await composition.get(gold_tables)[name].refresh()
        except CommitConflict as error:  # an operator rebuilds it at this moment
            log_event("gold table was written by others", level=30, table=error.table)
            return True
        if done.rows or done.days is None:
            days = "all" if done.days is None else done.days
            log_event("gold table computed", table=gold.table, rows=done.rows, days=days, version=done.version)
        return False

    return Job(name=gold.job, app=AppName.LAKE, schedule=gold.schedule, call=call)
