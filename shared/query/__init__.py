"""Query: the read models, how events become rows of them, and how rows are read, found and paged through."""

from .declared import indexes_of
from .filters import InvalidQuery
from .indexes import ViewIndexes, WrongIndex
from .indexing import Indexed, Indexer
from .options import MAX_TOP, NAMES, Options, parse_options
from .paging import ForbiddenField, PageQuery, Pages, Place, QueryPage, QueryRow
from .planning import ALL_ROWS, place_order
from .projector import Projector
from .properties import Kind, Property
from .reader import ViewReader, findable
from .replaying import Replayer
from .row_cache import CachedRow, Freshness, RowCache
from .row_writes import ViewChange, ViewRow, partitions_of, tombstone_key
from .views import ReadModels, StoredRow

__all__ = [
    "ALL_ROWS",
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
    "Replayer",
    "RowCache",
    "StoredRow",
    "ViewChange",
    "ViewIndexes",
    "ViewReader",
    "ViewRow",
    "WrongIndex",
    "findable",
    "indexes_of",
    "parse_options",
    "partitions_of",
    "place_order",
    "tombstone_key",
]
