"""A synthetic transaction: a marked message that goes the whole way, and is none of anybody's business."""

from .integration import EVENT_TYPE, NAME, VIEW, Marked, synthetic_integration
from .transaction import SyntheticTransaction

__all__ = ["EVENT_TYPE", "NAME", "VIEW", "Marked", "SyntheticTransaction", "synthetic_integration"]
