"""Bronze: every event of the hub as it came, in files as Event Hubs Capture writes them."""

from .completeness import Completeness, completeness
from .erasing import erased_event, rewrite
from .errors import BronzeError, BronzeUnavailable, CorruptFile, Gap, MissingEvents
from .files import BronzeFiles
from .maintenance import compact, sweep
from .reader import BronzeReader
from .writer import BronzeWriter

__all__ = [
    "BronzeError",
    "BronzeFiles",
    "BronzeReader",
    "BronzeUnavailable",
    "BronzeWriter",
    "Completeness",
    "CorruptFile",
    "Gap",
    "MissingEvents",
    "compact",
    "completeness",
    "erased_event",
    "rewrite",
    "sweep",
]
