"""Query: the read models, how events become rows of them, and how rows are read, found and paged through."""

from .declared import indexes_of
from .filters import InvalidQuery
from .indexes import ViewIndexes, WrongIndex
from .indexing import Indexed, Indexer
from .options import MAX_TOP, NAMES, Options, parse_options
from .paging import ForbiddenField, PageQuery, Pages, Place, QueryPage, QueryRow
from .projector import Projector
from .properties import Kind, Property
from .reader import ViewReader, findable
from .row_cache import CachedRow, Freshness, RowCache
from .views import ReadModels, StoredRow, ViewRow

__all__ = [
    "MAX_TOP",
    "NAMES",
    "CachedRow",
    "ForbiddenField",
    "Freshness",
    "Indexed",
    "Indexer",
    "InvalidQuery",
    "Kind",
    "Options",
    "PageQuery",
    "Pages",
    "Place",
    "Projector",
    "Property",
    "QueryPage",
    "QueryRow",
    "ReadModels",
    "RowCache",
    "StoredRow",
    "ViewIndexes",
    "ViewReader",
    "ViewRow",
    "WrongIndex",
    "findable",
    "indexes_of",
    "parse_options",
]
