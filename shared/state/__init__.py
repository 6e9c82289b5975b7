"""State: the buckets of the state table, its rows, its store, and the inbox and the leases in it."""

from shared.tables import Conflict

from .inbox import Inbox, InboxSweeper, is_edited
from .leases import Lease
from .store import (
    Row,
    StateMismatch,
    StateStore,
    TooLarge,
    bucket_of,
    call_key,
    delivery_columns,
    delivery_parts,
    inbox_key,
    inbox_row,
    outbox_key,
    pack,
    parked_key,
    partition_key,
    retry_key,
    row_safe,
    sequence_key,
    state_key,
    unpack,
    waiting_key,
)

__all__ = [
    "Conflict",
    "Inbox",
    "InboxSweeper",
    "Lease",
    "Row",
    "StateMismatch",
    "StateStore",
    "TooLarge",
    "bucket_of",
    "call_key",
    "delivery_columns",
    "delivery_parts",
    "inbox_key",
    "inbox_row",
    "is_edited",
    "outbox_key",
    "pack",
    "parked_key",
    "partition_key",
    "retry_key",
    "row_safe",
    "sequence_key",
    "state_key",
    "unpack",
    "waiting_key",
]
