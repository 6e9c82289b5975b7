"""Resilience: when to try again, how often in all, who goes first, and what is asked once for many."""

from .adaptive_bulkhead import AdaptiveBulkhead, BulkheadFull, Concurrency
from .bounded_cache import BoundedCache
from .failure_window import BreakerPolicy, FailureWindow, Result
from .lane_shares import LaneTurns, Share, WeightedBulkhead
from .retry_plan import RetryPlan
from .shared_breaker import BreakerOpen, Permit, SharedBreaker
from .shared_pace import Limit, LimitSpent, SharedPace
from .shared_row import SharedRow, Snapshot
from .single_flight import Call, SingleFlight
from .token_bucket import RetryBudget, TokenBucket

__all__ = [
    "AdaptiveBulkhead",
    "BoundedCache",
    "BreakerOpen",
    "BreakerPolicy",
    "BulkheadFull",
    "Call",
    "Concurrency",
    "FailureWindow",
    "LaneTurns",
    "Limit",
    "LimitSpent",
    "Permit",
    "Result",
    "RetryBudget",
    "RetryPlan",
    "Share",
    "SharedBreaker",
    "SharedPace",
    "SharedRow",
    "SingleFlight",
    "Snapshot",
    "TokenBucket",
    "WeightedBulkhead",
]
