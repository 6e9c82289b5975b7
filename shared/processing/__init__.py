"""Processing: batches in, an outcome for every message out, through one pipeline of stages."""

from .decoding import Decoder
from .failures import classify
from .handling import Limits, Runner
from .ordered import OrderedKeys, ParkingDrain
from .outcomes import Dead, Duplicate, Ended, RetryLater
from .pipeline import BatchFailed, BatchProcessor
from .recent import Recent
from .settling import Settler

__all__ = [
    "BatchFailed",
    "BatchProcessor",
    "Dead",
    "Decoder",
    "Duplicate",
    "Ended",
    "Limits",
    "OrderedKeys",
    "ParkingDrain",
    "Recent",
    "RetryLater",
    "Runner",
    "Settler",
    "classify",
]
