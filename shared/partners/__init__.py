"""Partners: other people's systems, called so that their failures stay theirs."""

from .auth import (
    ApiKey,
    Authentication,
    Basic,
    ClientCredentials,
    HmacSigned,
    ManagedIdentity,
    MessageSigned,
    MutualTls,
    RefreshToken,
)
from .batching import BatchCall, BatchItem
from .calls import Calls, Nothing
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
from .graphql import GraphQLAnswer, GraphQLError
from .guard import Caller, Surroundings
from .kept_answers import KeptAnswers
from .paging import CursorPages, LinkPages, OffsetPages
from .partner import Partner, PartnerModel, Pool, Target, Timeouts
from .partners import Partners
from .polling import Item, Poll, Polled, Position, poll_once
from .sessions import Connection, Received, Request
from .shared_rows import StateRow

__all__ = [
    "ApiKey",
    "Authentication",
    "Basic",
    "BatchCall",
    "BatchItem",
    "Caller",
    "Calls",
    "ClientCredentials",
    "Connection",
    "CursorPages",
    "GraphQLAnswer",
    "GraphQLError",
    "HmacSigned",
    "InvalidAnswer",
    "Item",
    "KeptAnswers",
    "LinkPages",
    "ManagedIdentity",
    "MessageSigned",
    "MutualTls",
    "Nothing",
    "OffsetPages",
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
    "Received",
    "RefreshToken",
    "Request",
    "StateRow",
    "Surroundings",
    "Target",
    "Timeouts",
    "UnknownTarget",
    "poll_once",
]
