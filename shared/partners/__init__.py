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
from .polling import Item, Poll, Polled, Position, poll_once
from .shared_rows import StateRow

__all__ = [
    "Caller",
    "Calls",
    "InvalidAnswer",
    "Item",
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
    "Poll",
    "Polled",
    "Pool",
    "Position",
    "StateRow",
    "Surroundings",
    "Timeouts",
    "UnknownTarget",
    "poll_once",
]
