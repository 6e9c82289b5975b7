"""Processing: batches in, an outcome for every message out."""

from .batch import BatchFailed, BatchProcessor, Limits
from .decoding import Decoder
from .failures import Category, Failure, classify
from .outcomes import Dead, Delivery, Done, Duplicate, Outcome, RetryLater
from .retry_plan import RetryPlan

__all__ = [
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
    "Outcome",
    "RetryLater",
    "RetryPlan",
    "classify",
]
