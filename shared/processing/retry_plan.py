"""When a failed message is tried again: exponential backoff with full jitter.

Full jitter spreads the tries of many messages evenly over the whole delay, so they don't come back as a wave
("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["RetryPlan"]


@dataclass(frozen=True, kw_only=True)
class RetryPlan:
    """Delays in seconds.

    Parameters
    ----------
    max_attempts:
        Tries in all, the first one included.
    base, cap:
        The n-th delay is drawn from 0 … min(cap, base * 2 ** (n - 1)).
    """

    max_attempts: int
    base: float
    cap: float

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be 1 or more")
        if not 0 < self.base <= self.cap:
            raise ValueError(f"base {self.base} and cap {self.cap} must be 0 < base <= cap")

    def delay(self, attempt: int, *, asked: float | None, random: Callable[[], float]) -> float | None:
        """Seconds to wait after the given attempt failed, or None when it was the last.

        What the other side asked for wins over the plan; `random` returns 0 … 1.
        """
        if attempt >= self.max_attempts:
            return None
        if asked is not None:
            return asked
        return random() * min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
