"""Processing: batches in, an outcome for every message out, through one pipeline of stages."""

from .decoding import Decoder
from .deduplication import Recent
from .failures import classify
from .handling import Limits, Runner
from .pipeline import BatchFailed, BatchProcessor
from .settling import Settler

__all__ = [
    "BatchFailed",
    "BatchProcessor",
    "Decoder",
    "Limits",
    "Recent",
    "Runner",
    "Settler",
    "classify",
]
