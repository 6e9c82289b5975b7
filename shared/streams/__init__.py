"""Streams: reading the event log, whatever is made of it: without a gap, decoded, decrypted, deduplicated, poison set
aside."""

from .consumer import StreamConsumer
from .event_log import NEVER, Annotations, StreamEvent
from .lag import Lag, LagWatch
from .positions import Positions
from .reader import StreamReader

__all__ = ["NEVER", "Annotations", "Lag", "LagWatch", "Positions", "StreamConsumer", "StreamEvent", "StreamReader"]
