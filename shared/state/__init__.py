"""State: the unit of work, the table that holds it, and how keys spread over buckets."""

from .buckets import bucket_of, partition_key
from .leases import Lease
from .outbox import Outbox
from .rows import TooLarge, head_key, inbox_key, outbox_key, pack, row_safe, state_key, unpack
from .store import Conflict, Operation, Row, StateMismatch, StateStore
from .work import Aggregate, LoadRows, Work, etag_of

__all__ = [
    "Aggregate",
    "Conflict",
    "Lease",
    "LoadRows",
    "Operation",
    "Outbox",
    "Row",
    "StateMismatch",
    "StateStore",
    "TooLarge",
    "Work",
    "bucket_of",
    "etag_of",
    "head_key",
    "inbox_key",
    "outbox_key",
    "pack",
    "partition_key",
    "row_safe",
    "state_key",
    "unpack",
]
