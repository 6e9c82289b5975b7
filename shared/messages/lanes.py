"""The priority lanes: which queue a message waits in."""

from enum import StrEnum

__all__ = ["Lane"]


class Lane(StrEnum):
    """A queue with a rank of its own; high is never behind low, low keeps a guaranteed share."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
