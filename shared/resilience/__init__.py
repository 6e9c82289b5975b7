"""Resilience: when to try again, how often in all, and who goes first."""

from .budget import RetryBudget
from .lane_gate import LaneGate
from .lane_turns import LaneTurns, Share
from .retry_plan import RetryPlan
from .single_flight import SingleFlight

__all__ = ["LaneGate", "LaneTurns", "RetryBudget", "RetryPlan", "Share", "SingleFlight"]
