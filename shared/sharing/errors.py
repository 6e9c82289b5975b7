"""Why a share isn't answered.

SharingError
├── NotShared        the recipient has no such share, schema or table: 404
├── NotAllowed       the table has columns that the recipient's role may not see: 403
├── NotReadable      the table has a feature that clients of whole Parquet files can't read: 400
├── BadQuestion      the request contradicts itself, or asks for what the table's log no longer has: 400
└── LakeAway         the lake's storage doesn't answer: 503
"""

__all__ = ["BadQuestion", "LakeAway", "NotAllowed", "NotReadable", "NotShared", "SharingError"]


class SharingError(Exception):
    """A request on a share is refused; the message says why, and is for the recipient."""


class NotShared(SharingError):
    """There is no such thing for this recipient."""


class NotAllowed(SharingError):
    """Its role sees less than the table holds."""


class NotReadable(SharingError):
    """The table can't be read from its files alone."""


class BadQuestion(SharingError):
    """The request can't be followed."""


class LakeAway(SharingError):
    """The lake can't be read just now."""
