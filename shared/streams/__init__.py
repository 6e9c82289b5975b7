"""Streams: reading the event log, whatever is made of it: without a gap, decoded, decrypted, deduplicated, poison set
aside."""

from .consumer import StreamConsumer
from .event_log import NEVER, Annotations, EventLog, Extent, LogUnavailable, StreamEvent
from .lag import Lag, LagWatch
from .positions import Position, Positions
from .reader import StreamReader, is_refusal

__all__ = [
    "NEVER",
    "Annotations",
    "EventLog",
    "Extent",
    "Lag",
    "LagWatch",
    "LogUnavailable",
    "Position",
    "Positions",
    "StreamConsumer",
    "StreamEvent",
    "StreamReader",
    "is_refusal",
]
