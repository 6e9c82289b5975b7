"""Streams: reading the event log, whatever is made of it: decoded, decrypted, deduplicated, poison set aside."""

from .reader import StreamReader
from .stream_event import StreamEvent

__all__ = ["StreamEvent", "StreamReader"]
