"""Processing: batches in, an outcome for every message out, through one pipeline of stages."""

from .decoding import Decoder
from .failures import classify
from .handling import Limits, Pauses, Runner
from .ordered import OrderedKeys, ParkingDrain
from .outcomes import Dead, Done, Duplicate, Ended, Outcome, Parked, RetryLater
from .pipeline import Admission, BatchFailed, BatchProcessor
from .recent import Recent
from .settings import ProcessingSettings
from .settling import Settler

__all__ = [
    "Admission",
    "BatchFailed",
    "BatchProcessor",
    "Dead",
    "Decoder",
    "Done",
    "Duplicate",
    "Ended",
    "Limits",
    "OrderedKeys",
    "Outcome",
    "Parked",
    "ParkingDrain",
    "Pauses",
    "ProcessingSettings",
    "Recent",
    "RetryLater",
    "Runner",
    "Settler",
    "classify",
]
