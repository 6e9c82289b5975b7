"""Testing: run a handler or a projection in memory, without I/O, and look at what it did."""

from .outcomes import Outcome, Published, Retried, Sent
from .partners import AnsweringPartner, Asked
from .recording import MemoryStore
from .running import Memory, project, refusal, run

__all__ = [
    "AnsweringPartner",
    "Asked",
    "Memory",
    "MemoryStore",
    "Outcome",
    "Published",
    "Retried",
    "Sent",
    "project",
    "refusal",
    "run",
]
