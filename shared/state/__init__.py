"""State: the unit of work, the table that holds it, and how keys spread over buckets."""

from shared.tables import etag_of

from .buckets import bucket_of, partition_key
from .leases import Lease
from .outbox import Outbox
from .parking import Head, Parked, Parking, Waiting
from .retention import InboxSweeper
from .rows import (
    TooLarge,
    head_key,
    inbox_key,
    outbox_key,
    pack,
    parked_key,
    row_safe,
    state_key,
    unpack,
    waiting_key,
)
from .store import Conflict, Operation, Row, StateMismatch, StateStore
from .work import Aggregate, Fields, LoadRows, Secrets, Values, Work

__all__ = [
    "Aggregate",
    "Conflict",
    "Fields",
    "Head",
    "InboxSweeper",
    "Lease",
    "LoadRows",
    "Operation",
    "Outbox",
    "Parked",
    "Parking",
    "Row",
    "Secrets",
    "StateMismatch",
    "StateStore",
    "TooLarge",
    "Values",
    "Waiting",
    "Work",
    "bucket_of",
    "etag_of",
    "head_key",
    "inbox_key",
    "outbox_key",
    "pack",
    "parked_key",
    "partition_key",
    "row_safe",
    "state_key",
    "unpack",
    "waiting_key",
]
