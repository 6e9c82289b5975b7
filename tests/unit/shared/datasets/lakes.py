"""Lakes in a folder, for questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arro3.core import Table
from deltalake import DeltaTable, write_deltalake

from shared.classification import Classification
from shared.datasets import (
    Column,
    Datasets,
    DeltaTables,
    Engine,
    FileCache,
    FilterStep,
    FolderSource,
    Limits,
    Question,
    Snapshot,
    declared_level,
    parse_apply,
    result_columns,
)
from shared.lake.tables import LakeStore
from shared.query import parse_options
from shared.query.filters import parse_filter

__all__ = ["LIMITS", "ask", "lake_in", "question", "written"]

LIMITS = Limits(bytes=1 << 30, rows=1_000_000, seconds=30)


async def _no_options() -> dict[str, str]:
    return {}


def lake_in(folder: Path, *, at_once: int = 2, memory: int = 1 << 28, capacity: int = 1 << 30) -> Datasets:
    """The datasets of a lake in a folder; close them."""
    tables = DeltaTables(
        LakeStore(str(folder / "lake"), _no_options), lambda layer, name: declared_level, lambda layer, name: "orders"
    )
    source = FolderSource(folder / "lake")
    cache = FileCache(source, folder / "copies", capacity=capacity)
    return Datasets(tables, source, cache, Engine(memory=memory), at_once=at_once)


def written(folder: Path, name: str, sql: str, *, layer: str = "gold", **options: Any) -> DeltaTable:
    """A table with the rows of a statement of DuckDB, or one with more of them."""
    import duckdb

    path = folder / "lake" / layer / name
    with duckdb.connect() as connection:
        write_deltalake(str(path), Table.from_arrow(connection.sql(sql)), mode="append", **options)
    return DeltaTable(str(path))


def question(
    snapshot: Snapshot,
    *,
    filter: str | None = None,  # as the option is called
    apply: str | None = None,
    select: str | None = None,
    orderby: str | None = None,
    since: int | None = None,
    level: Classification = Classification.RESTRICTED,
) -> Question:
    """What some options ask."""
    asked = Question(snapshot=snapshot, level=level, since=since)
    columns: Mapping[str, Column] = asked.columns
    steps = parse_apply(apply, columns) if apply is not None else ()
    properties = {name: one.shown for name, one in result_columns(steps, columns).items()}
    if filter is not None:
        steps = (*steps, FilterStep(parse_filter(filter, properties)))
    given = {"$select": select, "$orderby": orderby}
    options = parse_options({name: text for name, text in given.items() if text is not None}, properties)
    return Question(
        snapshot=snapshot, level=level, steps=steps, select=options.select, order=options.order, since=since
    )


async def ask(
    datasets: Datasets,
    name: str,
    *,
    layer: str = "gold",
    top: int = 1_000_000,
    skip: int = 0,
    limits: Limits = LIMITS,
    **asked: Any,
) -> Sequence[dict[str, Any]]:
    """The rows of a question."""
    level = asked.get("level", Classification.RESTRICTED)
    snapshot = await datasets.open(layer, name, level, asked.pop("as_of", None), since=asked.get("since"))
    async with datasets.reading(question(snapshot, **asked), limits) as reading:
        return await reading.page(top=top, skip=skip)
