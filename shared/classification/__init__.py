"""Classification: markers on a model's fields say how sensitive they are; everything else follows from them."""

from .markers import Classification, Confidential, Internal, Public, Restricted, Subject, Tokenized
from .plan import Leaf, Plan, WrongMarkers, plan_of
from .redaction import HIDDEN, ProtectedValue, Scrubber, leaves, redacted, redacted_finding, secrets_in, secrets_of

__all__ = [
    "HIDDEN",
    "Classification",
    "Confidential",
    "Internal",
    "Leaf",
    "Plan",
    "ProtectedValue",
    "Public",
    "Restricted",
    "Scrubber",
    "Subject",
    "Tokenized",
    "WrongMarkers",
    "leaves",
    "plan_of",
    "redacted",
    "redacted_finding",
    "secrets_in",
    "secrets_of",
]
