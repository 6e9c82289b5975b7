"""Pauses: an operator stops a lane, an integration or a partner on all instances, and nothing is lost meanwhile.

What is delivered while it may not be processed is set aside in a table, once, and goes back to its lane after the
pause: no delivery and no attempt is counted, nothing expires, and a pause of days costs no more than one of a minute.
"""

from .book import PauseBook
from .gate import PauseGate, PauseWatch
from .pause import Kind, NotPaused, Pause, PauseError, TooManyPauses, UnknownName, known_name
from .set_aside import Release, SetAside, SetAsideMessage

__all__ = [
    "Kind",
    "NotPaused",
    "Pause",
    "PauseBook",
    "PauseError",
    "PauseGate",
    "PauseWatch",
    "Release",
    "SetAside",
    "SetAsideMessage",
    "TooManyPauses",
    "UnknownName",
    "known_name",
]
