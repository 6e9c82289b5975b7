"""Resilience: when to try again, how often in all, who goes first, and what is asked once for many."""

from .bounded_cache import BoundedCache
from .failure_window import BreakerPolicy, FailureWindow, Result
from .lane_shares import LaneTurns, Share, WeightedBulkhead
from .retry_plan import RetryPlan
from .shared_breaker import BreakerOpen, Permit, SharedBreaker
from .shared_row import SharedRow, Snapshot
from .single_flight import Call, SingleFlight
from .token_bucket import RetryBudget, SharedTokenBucket, TokenBlock, TokenBucket, TokenStore

__all__ = [
    "BoundedCache",
    "BreakerOpen",
    "BreakerPolicy",
    "Call",
    "FailureWindow",
    "LaneTurns",
    "Permit",
    "Result",
    "RetryBudget",
    "RetryPlan",
    "Share",
    "SharedBreaker",
    "SharedRow",
    "SharedTokenBucket",
    "SingleFlight",
    "Snapshot",
    "TokenBlock",
    "TokenBucket",
    "TokenStore",
    "WeightedBulkhead",
]
