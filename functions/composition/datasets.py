"""Datasets by API, where a setting has them; the libraries that read tables load with the first question."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.datasets import DatasetEndpoints
from shared.blobs import BlobFiles
from shared.classification import Classification
from shared.datasets import ColumnLevel, Datasets, DeltaTables, Engine, FileCache, Limits, declared_level
from shared.datasets.settings import DatasetSettings
from shared.lake.tables import Layer

from .capability import Capability
from .composition import Composition
from .declaring import ROUTES, Access, Need
from .lake import TABLES, lake_store
from .platform import platform
from .read_models import continuations

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["capability", "column_levels", "dataset_limits", "datasets", "table_owners"]


def column_levels(composition: Composition) -> "Callable[[str, str], ColumnLevel]":
    """How sensitive the columns of tables are: as the models of silver say, and as tables say of themselves."""
    from shared.lake.silver import lines_of

    known: dict[str, Mapping[str, Classification]] = {
        table.name: dict.fromkeys((one.name for one in table.all_columns), Classification.INTERNAL) | dict(table.levels)
        for line in lines_of(composition.registry.silvers)
        for table in line.tables
    }

    def of_table(layer: str, name: str) -> ColumnLevel:
        columns = known.get(name) if layer == Layer.SILVER else None

        def level(column: str, metadata: Mapping[str, Any]) -> Classification:
            if columns is None:
                return declared_level(column, metadata)
            # a column that the model has no more may have been a hidden one: the table keeps it
            return max(columns.get(column, Classification.RESTRICTED), declared_level(column, metadata))

        return level

    return of_table


def table_owners(composition: Composition) -> Mapping[tuple[str, str], str]:
    """By layer and table the integration that declares it."""
    from shared.lake.silver import lines_of

    found: dict[tuple[str, str], str] = {}
    for one in composition.registry.integrations:
        found |= {(Layer.GOLD, gold.name): one.name for gold in one.golds}
        for line in lines_of(one.silvers):
            found |= {(Layer.SILVER, table.name): one.name for table in line.tables}
            found[Layer.QUARANTINE, line.quarantine] = one.name
    return found


def datasets(composition: Composition) -> Datasets:
    """The tables of the lake, for questions."""
    settings = composition.settings
    source = composition.closing(BlobFiles(composition.get(platform).lake_container(settings.lake_container)))
    folder = Path(tempfile.mkdtemp(prefix="datasets-"))
    return composition.closing(
        Datasets(
            DeltaTables(
                composition.get(lake_store),
                composition.get(column_levels),
                lambda layer, name: composition.get(table_owners).get((layer, name), ""),
            ),
            source,
            FileCache(source, folder, capacity=settings.datasets_cache_bytes),
            Engine(memory=settings.datasets_memory_bytes),
            at_once=settings.datasets_at_once,
        )
    )


def dataset_limits(composition: Composition, level: Classification) -> Limits:
    """What a question of who has an access level may take."""
    settings = composition.settings
    if level >= Classification.RESTRICTED:
        return Limits(
            bytes=settings.datasets_operator_bytes,
            rows=settings.datasets_operator_rows,
            seconds=settings.datasets_operator_seconds,
        )
    return Limits(bytes=settings.datasets_bytes, rows=settings.datasets_rows, seconds=settings.datasets_seconds)


def capability(composition: Composition) -> Capability:
    """Routes, of which none is answered without the setting."""
    settings = composition.settings
    endpoints = DatasetEndpoints(
        lambda: composition.get(datasets),
        lambda: composition.get(continuations),
        lambda level: dataset_limits(composition, level),
        enabled=settings.datasets,
        public_url=composition.settings.public_url,
        now=composition.now,
    )
    reads = Need(
        access=Access.READ,
        to=TABLES,
        why="Answers questions to the lake's tables.",
        by=[ROUTES],
        when="SLUICE_DATASETS",
    )
    return Capability(
        name="datasets",
        routes=endpoints.routes(),
        settings=DatasetSettings.variables(),
        needs=[reads] if settings.lake is not None else [],
    )
