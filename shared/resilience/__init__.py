"""Resilience: when to try again, how often in all, and who goes first."""

from .budget import RetryBudget
from .lane_gate import LaneGate
from .retry_plan import RetryPlan

__all__ = ["LaneGate", "RetryBudget", "RetryPlan"]
