"""Change data capture from PostgreSQL by logical decoding: `pgoutput` is read by us, and no other process runs."""

from .address import ServerAddress
from .capture import Capturing, Send
from .errors import (
    CaptureError,
    MalformedOutput,
    PublicationMissing,
    SlotInUse,
    SlotLost,
    SlotMoved,
    SourceUnavailable,
    UnfitSource,
)
from .progress import Progress, lsn_text
from .server import Session, SlotState, opened
from .source import Postgresql
from .stream import UNAVAILABLE, ChangeRecord, ChangeStream, Database, Position, Visibility

__all__ = [
    "UNAVAILABLE",
    "CaptureError",
    "Capturing",
    "ChangeRecord",
    "ChangeStream",
    "Database",
    "MalformedOutput",
    "Position",
    "Postgresql",
    "Progress",
    "PublicationMissing",
    "Send",
    "ServerAddress",
    "Session",
    "SlotInUse",
    "SlotLost",
    "SlotMoved",
    "SlotState",
    "SourceUnavailable",
    "UnfitSource",
    "Visibility",
    "lsn_text",
    "opened",
]
