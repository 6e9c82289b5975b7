"""Partners: other people's systems, called so that their failures stay theirs."""

from .answers import Nothing
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
from .authenticators import Certificates
from .batching import BatchCall, BatchItem
from .calls import Calls
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
from .partner import Partner, PartnerModel, Pool, Target, Timeouts, has_address
from .partners import Partners
from .polling import Item, Poll, Polled, Position, poll_once
from .sessions import Connection, Opened, Received, Request
from .shared_rows import StateRow
from .streams import EventStream, Lines, ServerEvent

__all__ = [
    "ApiKey",
    "Authentication",
    "Basic",
    "BatchCall",
    "BatchItem",
    "Caller",
    "Calls",
    "Certificates",
    "ClientCredentials",
    "Connection",
    "CursorPages",
    "EventStream",
    "GraphQLAnswer",
    "GraphQLError",
    "HmacSigned",
    "InvalidAnswer",
    "Item",
    "KeptAnswers",
    "Lines",
    "LinkPages",
    "ManagedIdentity",
    "MessageSigned",
    "MutualTls",
    "Nothing",
    "OffsetPages",
    "Opened",
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
    "ServerEvent",
    "StateRow",
    "Surroundings",
    "Target",
    "Timeouts",
    "UnknownTarget",
    "has_address",
    "poll_once",
]
