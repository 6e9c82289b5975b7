"""The app in memory, laid out as its packages are: the stores' edges, and instances of the pipeline on them."""

from .claim_check import MemoryClaims, claim_of
from .dead_letters import MemoryDeadLetters
from .edge import Edge
from .processing import Instance, Surroundings
from .query import MemoryViews
from .sending import MemoryLanes, MemoryPublisher, Sent
from .state import MemoryState
from .streams import Host, MemoryLog
from .subscriptions import MemoryWakes
from .uploads import MemoryUploads

__all__ = [
    "Edge",
    "Host",
    "Instance",
    "MemoryClaims",
    "MemoryDeadLetters",
    "MemoryLanes",
    "MemoryLog",
    "MemoryPublisher",
    "MemoryState",
    "MemoryUploads",
    "MemoryViews",
    "MemoryWakes",
    "Sent",
    "Surroundings",
    "claim_of",
]
