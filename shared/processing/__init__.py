"""Processing: batches in, an outcome for every message out."""

from .batch import Admission, BatchFailed, BatchProcessor
from .decoding import Decoder
from .failures import Category, Failure, classify
from .ordered import OrderedKeys, ParkingDrain
from .outcomes import Dead, Delivery, Done, Duplicate, Outcome, Parked, RetryLater
from .recent import Recent
from .running import Limits, Pauses, Runner
from .settling import Settler

__all__ = [
    "Admission",
    "BatchFailed",
    "BatchProcessor",
    "Category",
    "Dead",
    "Decoder",
    "Delivery",
    "Done",
    "Duplicate",
    "Failure",
    "Limits",
    "OrderedKeys",
    "Outcome",
    "Parked",
    "ParkingDrain",
    "Pauses",
    "Recent",
    "RetryLater",
    "Runner",
    "Settler",
    "classify",
]
