"""Delta tables: opened, committed to exactly once, and kept in shape."""

from .committer import Advance, Committer
from .errors import (
    CommitConflict,
    IncompatibleSchema,
    LakeError,
    LakeUnavailable,
    TableMissing,
    VersionMissing,
    WatermarkMoved,
)
from .maintenance import Maintained, Retention, maintain, maintain_all
from .storage import StorageOptions, storage_options
from .store import LakeStore, Layer

__all__ = [
    "Advance",
    "CommitConflict",
    "Committer",
    "IncompatibleSchema",
    "LakeError",
    "LakeStore",
    "LakeUnavailable",
    "Layer",
    "Maintained",
    "Retention",
    "StorageOptions",
    "TableMissing",
    "VersionMissing",
    "WatermarkMoved",
    "maintain",
    "maintain_all",
    "storage_options",
]
