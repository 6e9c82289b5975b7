"""HTTP: the API's plumbing between FastAPI, the platform and the lanes."""

from .answers import accepted, error, internal_error, success
from .bodies import BadBody, declared_length, media_type, read_body
from .classic import ClassicBridge, key_in_path
from .commands import Refused
from .guarded import Guarded
from .intake import Intake
from .observed import ROUTE, Observed, correlation_id
from .operations import Operation, OperationIds, OperationSigner, mark_of
from .routing import ANONYMOUS, EVERY_ROLE, PRODUCERS, READERS, Route, RouteTable
from .streams import answer_with
from .submissions import Submission
from .uploads import NamedUpload, named_upload

__all__ = [
    "ANONYMOUS",
    "EVERY_ROLE",
    "PRODUCERS",
    "READERS",
    "ROUTE",
    "BadBody",
    "ClassicBridge",
    "Guarded",
    "Intake",
    "NamedUpload",
    "Observed",
    "Operation",
    "OperationIds",
    "OperationSigner",
    "Refused",
    "Route",
    "RouteTable",
    "Submission",
    "accepted",
    "answer_with",
    "correlation_id",
    "declared_length",
    "error",
    "internal_error",
    "key_in_path",
    "mark_of",
    "media_type",
    "named_upload",
    "read_body",
    "success",
]
