"""A token bucket: how often something may be done, with room for bursts. Time is passed in.

Never more than `capacity + rate × seconds` in any span of time. How instances share one: `shared.limits`.
"""

from collections.abc import Callable
from math import inf

__all__ = ["RetryBudget", "TokenBucket"]


class TokenBucket:
    """Tokens that come with time, up to a capacity.

    Parameters
    ----------
    capacity:
        Tokens at the start, and at most: the largest burst.
    rate:
        Tokens a second; 0 where they only come by `add`.
    clock:
        Seconds, monotonic.
    """

    def __init__(self, *, capacity: float, rate: float, clock: Callable[[], float]) -> None:
        if not (1 <= capacity < inf and 0 <= rate < inf):
            raise ValueError(f"capacity {capacity} must be 1 or more and finite, rate {rate} 0 or more and finite")
        self._capacity = capacity
        self._rate = rate
        self._clock = clock
        self._tokens = float(capacity)
        self._filled_at = clock()
        self._paused_until = -inf

    def take(self, tokens: float = 1) -> bool:
        """Take tokens that are there; False, and nothing is taken, where they aren't."""
        return self.reserve(tokens, within=0) is not None

    def reserve(self, tokens: float = 1, *, within: float = inf) -> float | None:
        """Take tokens ahead of their time, in the order of the calls.

        Returns the seconds to wait until they are there, or None, and nothing is taken, where that is longer than
        `within`.
        """
        wait = self.wait(tokens)
        if wait > within:
            return None
        self._tokens -= tokens
        return wait

    def wait(self, tokens: float = 1) -> float:
        """Seconds until so many tokens are there; infinite where they never come by themselves."""
        now = self._clock()
        if now > self._filled_at:
            since = max(self._filled_at, min(self._paused_until, now))
            self._tokens = min(self._capacity, self._tokens + self._rate * (now - since))
            self._filled_at = now
        pause = max(0.0, self._paused_until - now)
        missing = tokens - self._tokens
        if missing <= 0:
            return pause
        return pause + missing / self._rate if self._rate else inf

    def add(self, tokens: float) -> None:
        """Put in tokens that were earned, up to the capacity."""
        self._tokens = min(self._capacity, self._tokens + tokens)

    def pause(self, seconds: float) -> None:
        """Hand out nothing for a while; a shorter pause doesn't end a longer one. No tokens come meanwhile."""
        self.wait()
        self._paused_until = max(self._paused_until, self._clock() + seconds)


class RetryBudget:
    """Retries stay a bounded share of the work, so that a failing partner meets no storm.

    Each first try earns a share of a token, each retry spends one ("Addressing Cascading Failures", Site Reliability
    Engineering, O'Reilly, 2016, chapter 22).

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
