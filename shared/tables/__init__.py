"""Tables: one seam, two stores behind it: `shared.tables.azure` and memory."""

from .formats import TransactionFailed
from .memory import MemoryTable
from .table import (
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
    Table,
    Upsert,
    again_on_conflict,
    etag_of,
)

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
