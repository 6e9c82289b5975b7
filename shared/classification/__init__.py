"""Classification: markers on a model's fields say how sensitive they are; everything else follows from them."""

from .markers import Classification, Confidential, Internal, Public, Restricted, Subject, Tokenized
from .plan import Leaf, Plan, WrongMarkers, plan_of
from .redaction import HIDDEN, Scrubber, redacted, secrets_in, secrets_of, told
from .walking import Found, leaves

__all__ = [
    "HIDDEN",
    "Classification",
    "Confidential",
    "Found",
    "Internal",
    "Leaf",
    "Plan",
    "Public",
    "Restricted",
    "Scrubber",
    "Subject",
    "Tokenized",
    "WrongMarkers",
    "leaves",
    "plan_of",
    "redacted",
    "secrets_in",
    "secrets_of",
    "told",
]
