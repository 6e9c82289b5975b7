"""Streams: reading the event log, whatever is made of it: without a gap, decoded, decrypted, deduplicated, poison set
aside."""

from .consumer import StreamConsumer
from .event_log import Extent, LogUnavailable, StreamEvent
from .lag import Lag, LagWatch
from .positions import Positions
from .reader import StreamReader

__all__ = [
    "Extent",
    "Lag",
    "LagWatch",
    "LogUnavailable",
    "Positions",
    "StreamConsumer",
    "StreamEvent",
    "StreamReader",
]
