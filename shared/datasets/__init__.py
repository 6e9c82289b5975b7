"""Datasets: the lake's tables by API, by OData's options, shut off from everything else."""

from .columns import CLASSIFICATION, Column, ColumnLevel, declared_level, levels_in
from .delta import DeltaTables
from .encoding import ARROW, CSV, FORMATS, NDJSON, PARQUET
from .engine import Engine
from .errors import Busy, CannotCompute, DatasetError, NoSuchDataset, TooMuch, Unreachable, Unreadable, VersionGone
from .files import FileCache, FolderSource, Source
from .pipeline import FilterStep, parse_apply, result_columns
from .reading import LAYERS, Datasets, Limits, Question, Reading, columns_of
from .snapshots import DataFile, Snapshot

__all__ = [
    "ARROW",
    "CLASSIFICATION",
    "CSV",
    "FORMATS",
    "LAYERS",
    "NDJSON",
    "PARQUET",
    "Busy",
    "CannotCompute",
    "Column",
    "ColumnLevel",
    "DataFile",
    "DatasetError",
    "Datasets",
    "DeltaTables",
    "Engine",
    "FileCache",
    "FilterStep",
    "FolderSource",
    "Limits",
    "NoSuchDataset",
    "Question",
    "Reading",
    "Snapshot",
    "Source",
    "TooMuch",
    "Unreachable",
    "Unreadable",
    "VersionGone",
    "columns_of",
    "declared_level",
    "levels_in",
    "parse_apply",
    "result_columns",
]
