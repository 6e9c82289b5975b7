"""Partners: other people's systems, called so that their failures stay theirs."""

from .calls import Calls, Nothing
from .client import Caller, Surroundings
from .errors import (
    InvalidAnswer,
    OutcomeUnknown,
    PartnerError,
    PartnerFailed,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
    UnknownTarget,
)
from .kept_answers import KeptAnswers
from .partner import Partner, PartnerModel, Pool, Timeouts
from .partners import Partners
from .shared_rows import StateRow

__all__ = [
    "Caller",
    "Calls",
    "InvalidAnswer",
    "KeptAnswers",
    "Nothing",
    "OutcomeUnknown",
    "Partner",
    "PartnerError",
    "PartnerFailed",
    "PartnerModel",
    "PartnerRefused",
    "PartnerThrottled",
    "PartnerUnavailable",
    "Partners",
    "Pool",
    "StateRow",
    "Surroundings",
    "Timeouts",
    "UnknownTarget",
]
