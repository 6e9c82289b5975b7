"""GraphQL over the read models. Loads its library: import it when the first query comes."""

from .changes import RowChanges
from .connections import ConnectionPage, PageArguments
from .context import ReadingContext, Row, global_id, read_id
from .cost import Limits
from .engine import Asked, GraphQLEngine, Prepared, Refused
from .schema import GraphView, build_schema

__all__ = [
    "Asked",
    "ConnectionPage",
    "GraphQLEngine",
    "GraphView",
    "Limits",
    "PageArguments",
    "Prepared",
    "ReadingContext",
    "Refused",
    "Row",
    "RowChanges",
    "build_schema",
    "global_id",
    "read_id",
]
