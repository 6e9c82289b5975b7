"""Streams: reading the event log, whatever is made of it: without a gap, decoded, decrypted, deduplicated, poison set
aside."""

from .consumer import StreamConsumer
from .event_log import EventLog, Extent, LogUnavailable
from .positions import Position, Positions
from .reader import Delivered, StreamReader
from .stream_event import StreamEvent

__all__ = [
    "Delivered",
    "EventLog",
    "Extent",
    "LogUnavailable",
    "Position",
    "Positions",
    "StreamConsumer",
    "StreamEvent",
    "StreamReader",
]
