"""HTTP: the API's plumbing between FastAPI, the platform and the lanes."""

from .answers import accepted, count_messages, error, internal_error, status_of, success
from .bodies import (
    SLOWEST,
    BadBody,
    NamedUpload,
    content_encoding,
    contract_version,
    declared_length,
    media_type,
    named_upload,
    read_body,
)
from .commands import Refused
from .conditional import answer_if_changed, max_age_of, precondition, reuse
from .guarded import Guarded, caller_of
from .idempotency import LONGEST_KEY, id_of_line, id_under, idempotency_key
from .intake import Intake
from .limited import Limited, charge
from .mounting import ClassicBridge, answer_with, key_in_path
from .observed import ROUTE, Observed, correlation_id
from .operations import Operation, OperationSigner, Submission, mark_of
from .presentation import Presented
from .routing import ANONYMOUS, EVERY_ROLE, PRODUCERS, READERS, RECIPIENTS, Route, RouteTable
from .shedding import AdaptiveLimit, Importance, OverloadWatch, Shedding, ShedPolicy
from .versions import Deprecation, Versioned

__all__ = [
    "ANONYMOUS",
    "EVERY_ROLE",
    "LONGEST_KEY",
    "PRODUCERS",
    "READERS",
    "RECIPIENTS",
    "ROUTE",
    "SLOWEST",
    "AdaptiveLimit",
    "BadBody",
    "ClassicBridge",
    "Deprecation",
    "Guarded",
    "Importance",
    "Intake",
    "Limited",
    "NamedUpload",
    "Observed",
    "Operation",
    "OperationSigner",
    "OverloadWatch",
    "Presented",
    "Refused",
    "Route",
    "RouteTable",
    "ShedPolicy",
    "Shedding",
    "Submission",
    "Versioned",
    "accepted",
    "answer_if_changed",
    "answer_with",
    "caller_of",
    "charge",
    "content_encoding",
    "contract_version",
    "correlation_id",
    "count_messages",
    "declared_length",
    "error",
    "id_of_line",
    "id_under",
    "idempotency_key",
    "internal_error",
    "key_in_path",
    "mark_of",
    "max_age_of",
    "media_type",
    "named_upload",
    "precondition",
    "read_body",
    "reuse",
    "status_of",
    "success",
]
