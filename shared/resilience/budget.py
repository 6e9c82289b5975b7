"""A retry budget: retries stay a bounded share of the work, so that a failing partner meets no storm.

Source of the idea: "Addressing Cascading Failures", Site Reliability Engineering (O'Reilly, 2016), chapter 22.
"""

from collections.abc import Callable

from .token_bucket import TokenBucket

__all__ = ["RetryBudget"]


class RetryBudget:
    """Each first try earns a share of a token, each retry spends one.

    Parameters
    ----------
    share:
        Retries allowed per first try, in the long run.
    reserve:
        Tokens at the start, and at most: small failures are retried at once.
    trickle:
        Tokens earned per second whatever the traffic is, so that a quiet integration recovers.
    clock:
        Seconds, monotonic.
    """

    def __init__(self, *, share: float, reserve: float, trickle: float, clock: Callable[[], float]) -> None:
        if not (0 <= share <= 10 and reserve >= 1 and trickle >= 0):
            raise ValueError("share must be 0 to 10, reserve 1 or more, trickle 0 or more")
        self._share = share
        self._bucket = TokenBucket(capacity=reserve, rate=trickle, clock=clock)

    def earn(self, first_tries: int = 1) -> None:
        """Count first tries."""
        self._bucket.add(self._share * first_tries)

    def spend(self) -> bool:
        """Whether a retry may come at its planned time; if not, it should wait as long as the plan allows."""
        return self._bucket.take()
