"""What goes wrong when changes are captured from PostgreSQL.

CaptureError
├── MalformedOutput        bytes that pgoutput doesn't write
├── SourceUnavailable      the server doesn't answer, or ended the session: the next run goes on
│   └── DecodingTooSlow    the server needs longer for a look at the slot than the run has
├── SlotInUse              another instance reads the slot at this moment
├── SlotLost               the slot was dropped, or its log removed: changes are missing
├── SlotMoved              somebody else advanced the slot, or made it anew: changes are missing
├── PublicationMissing     dropped, renamed, or made after the slot
└── UnfitSource            the server or a table can't be captured as it is
"""

__all__ = [
    "CaptureError",
    "DecodingTooSlow",
    "MalformedOutput",
    "PublicationMissing",
    "SlotInUse",
    "SlotLost",
    "SlotMoved",
    "SourceUnavailable",
    "UnfitSource",
]


class CaptureError(Exception):
    """Changes can't be captured; the message says what to do."""


class MalformedOutput(CaptureError):
    """Bytes that the output plug-in doesn't write in the version that was asked for."""


class SourceUnavailable(CaptureError):
    """The server can't be reached, or it ended the session; nothing is lost, and the next run goes on."""


class DecodingTooSlow(SourceUnavailable):
    """The server didn't decode the log in the seconds that the run had left."""


class SlotInUse(CaptureError):
    """Another session reads the slot."""


class SlotLost(CaptureError):
    """The slot is gone, or the server removed the log that it needs: changes are missing."""


class SlotMoved(CaptureError):
    """The slot stands beyond what was captured: changes are missing."""


class PublicationMissing(CaptureError):
    """The publication isn't there, now or at the moment that the slot still has to read."""


class UnfitSource(CaptureError):
    """The server, its settings or a table aren't fit for it; the message names every reason."""
