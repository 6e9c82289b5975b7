"""State: the unit of work, the table that holds it, and how keys spread over buckets."""

from .buckets import bucket_of, partition_key
from .outbox import OutboxSweeper
from .rows import TooLarge, inbox_key, outbox_key, pack, row_safe, state_key, unpack
from .store import Conflict, Operation, Row, StateMismatch, StateStore
from .work import LoadRows, Work

__all__ = [
    "Conflict",
    "LoadRows",
    "Operation",
    "OutboxSweeper",
    "Row",
    "StateMismatch",
    "StateStore",
    "TooLarge",
    "Work",
    "bucket_of",
    "inbox_key",
    "outbox_key",
    "pack",
    "partition_key",
    "row_safe",
    "state_key",
    "unpack",
]
