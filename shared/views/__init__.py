"""Views: their versions, how a new one is made of the events beside the live one, and how it takes its place."""

from .comparing import Comparison, Mask, compare
from .feed import Applied, History, VersionFeed
from .rebuilder import CannotRebuild, Rebuilder, Step
from .remembering import RememberingTable
from .versions import Stage, VersionChanged, ViewVersion, ViewVersions, place_of

__all__ = [
    "Applied",
    "CannotRebuild",
    "Comparison",
    "History",
    "Mask",
    "Rebuilder",
    "RememberingTable",
    "Stage",
    "Step",
    "VersionChanged",
    "VersionFeed",
    "ViewVersion",
    "ViewVersions",
    "compare",
    "place_of",
]
