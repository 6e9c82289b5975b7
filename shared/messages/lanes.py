"""The priority lanes: which queue a message waits in."""

from enum import StrEnum

__all__ = ["Lane"]


class Lane(StrEnum):
    """A queue with a rank of its own; high is never behind low, low keeps a guaranteed share.

    On the ordered lane the messages of a key are done strictly one after the other.
    """

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    ORDERED = "ordered"
