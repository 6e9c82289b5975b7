"""Silver: a typed table for each kind of event, with each event once."""

from .ingest import Applied, EventSource, SilverIngest
from .tables import SilverLine, SilverTable, WrongSilver, lines_of
from .types import Column, Misfit, Type

__all__ = [
    "Applied",
    "Column",
    "EventSource",
    "Misfit",
    "SilverIngest",
    "SilverLine",
    "SilverTable",
    "Type",
    "WrongSilver",
    "lines_of",
]
