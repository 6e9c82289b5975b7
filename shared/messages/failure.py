"""What kind of failure a message met, and whether another try may succeed."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Category", "Failure"]


class Category(StrEnum):
    """What kind of failure it was."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    PARTIAL = "partial"
    PERMANENT = "permanent"
    BUSINESS = "business"
    INVALID = "invalid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified failure.

    Attributes
    ----------
    after:
        Seconds to wait before the next try, where the handler or the other side asked for it.
    """

    category: Category
    code: str
    reason: str
    error: BaseException | None = None
    after: float | None = None

    @property
    def retryable(self) -> bool:
        """Another try with the same message may succeed."""
        return self.category in (Category.TRANSIENT, Category.THROTTLED, Category.PARTIAL)
