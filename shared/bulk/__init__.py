"""Bulks: many messages in one request, each validated, sent and answered for by itself."""

from .answering import Answering, BulkAnswer, status_code
from .errors import CannotGoOn
from .expanding import ENCODINGS, expander
from .lines import BATCH_TYPE, LARGEST_LINE, NDJSON, splitter
from .progress import Progress, Status
from .running import Bulk, Source

__all__ = [
    "BATCH_TYPE",
    "ENCODINGS",
    "LARGEST_LINE",
    "NDJSON",
    "Answering",
    "Bulk",
    "BulkAnswer",
    "CannotGoOn",
    "Progress",
    "Source",
    "Status",
    "expander",
    "splitter",
    "status_code",
]
