"""Query: the read models, how events become rows of them, and how rows are read."""

from .projector import Projector
from .reader import ViewReader, findable
from .row_cache import CachedRow, Freshness, RowCache
from .views import ReadModels, StoredRow, ViewRow

__all__ = [
    "CachedRow",
    "Freshness",
    "Projector",
    "ReadModels",
    "RowCache",
    "StoredRow",
    "ViewReader",
    "ViewRow",
    "findable",
]
