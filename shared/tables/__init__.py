"""Tables: one seam, two stores behind it: `shared.tables.azure` and memory."""

from .memory import MemoryTable
from .operations import (
    MAX_OPERATIONS,
    Condition,
    Conflict,
    Create,
    Delete,
    Entity,
    Operation,
    Query,
    Replace,
    Rows,
    Upsert,
    etag_of,
)
from .table import Table, again_on_conflict
from .transactions import TransactionFailed

__all__ = [
    "MAX_OPERATIONS",
    "Condition",
    "Conflict",
    "Create",
    "Delete",
    "Entity",
    "MemoryTable",
    "Operation",
    "Query",
    "Replace",
    "Rows",
    "Table",
    "TransactionFailed",
    "Upsert",
    "again_on_conflict",
    "etag_of",
]
