"""Changes of rows in other databases, as their own logs tell them: read from every common form, without I/O."""

from .change import CapturedChange, Change, Operation, Origin, UnreadableChange, position_text
from .debezium import DeclaredTypes, Handled, read_debezium
from .feed import Applied, Feed, Late, change_event_type, is_late
from .reading import is_tombstone, read_changes
from .sql_server import ChangesLost, read_change_table

__all__ = [
    "Applied",
    "CapturedChange",
    "Change",
    "ChangesLost",
    "DeclaredTypes",
    "Feed",
    "Handled",
    "Late",
    "Operation",
    "Origin",
    "UnreadableChange",
    "change_event_type",
    "is_late",
    "is_tombstone",
    "position_text",
    "read_change_table",
    "read_changes",
    "read_debezium",
]
