"""Resilience: when to try again, how often in all, who goes first, and what is asked once for many."""

from .bounded_cache import BoundedCache
from .lane_shares import LaneTurns, Share, WeightedBulkhead
from .retry_plan import RetryPlan
from .single_flight import Call, SingleFlight
from .token_bucket import RetryBudget, SharedTokenBucket, TokenBlock, TokenBucket, TokenStore

__all__ = [
    "BoundedCache",
    "Call",
    "LaneTurns",
    "RetryBudget",
    "RetryPlan",
    "Share",
    "SharedTokenBucket",
    "SingleFlight",
    "TokenBlock",
    "TokenBucket",
    "TokenStore",
    "WeightedBulkhead",
]
