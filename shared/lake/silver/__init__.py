"""Silver: a typed table for each kind of event, with each event once."""

from .erasure import erase_rows, leading_rows
from .ingest import UNREADABLE, Applied, EventSource, SilverIngest
from .rebuilding import STAGED, RebuildWouldLose, SilverRebuild
from .tables import SilverLine, SilverTable, WrongSilver, lines_of
from .types import Column, Misfit, Type

__all__ = [
    "STAGED",
    "UNREADABLE",
    "Applied",
    "Column",
    "EventSource",
    "Misfit",
    "RebuildWouldLose",
    "SilverIngest",
    "SilverLine",
    "SilverRebuild",
    "SilverTable",
    "Type",
    "WrongSilver",
    "erase_rows",
    "leading_rows",
    "lines_of",
]
