"""When a failed message is tried again.

Equal jitter spreads the tries of many messages over half of the delay, so they don't come back as a wave, and bounds
from below how long a plan lasts ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The default plan lasts
63 minutes at least and 127 at most: an outage of an hour kills no message.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["RetryPlan"]

Shape = Literal["exponential", "linear", "fixed"]


@dataclass(frozen=True, kw_only=True)
class RetryPlan:
    """Delays in seconds, and when to give up.

    Parameters
    ----------
    max_attempts:
        Tries in all, the first one included.
    base, cap:
        The n-th delay is at most `base * 2 ** (n - 1)` (exponential), `base * n` (linear) or `base` (fixed), and never
        above `cap`. An exponential delay is drawn from half of that bound to the whole; the others get up to a tenth
        on top.
    max_total:
        Seconds after the first failure's message was accepted beyond which no new try is planned.

    Example
    -------
    >>> RetryPlan(shape="linear", max_attempts=3, base=10, cap=60).delay(2, elapsed=0, random=lambda: 0.0)
    20.0
    """

    max_attempts: int = 21
    shape: Shape = "exponential"
    base: float = 2.0
    cap: float = 600.0
    max_total: float = 86_400.0

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, must be 1 or more")
        if self.shape not in ("exponential", "linear", "fixed"):
            raise ValueError(f"shape is {self.shape!r}, must be exponential, linear or fixed")
        if not 0 < self.base <= self.cap:
            raise ValueError(f"base {self.base} and cap {self.cap} must be 0 < base <= cap")
        if not self.max_total > 0:
            raise ValueError(f"max_total is {self.max_total}, must be above 0")

    def delay(
        self, attempt: int, *, elapsed: float, random: Callable[[], float], asked: float | None = None
    ) -> float | None:
        """Seconds to wait after the given attempt failed, or None when it was the last.

        Parameters
        ----------
        elapsed:
            Seconds since the message was accepted.
        random:
            Returns 0 … 1.
        asked:
            What the handler or the other side asked for; it wins over the plan.
        """
        if attempt >= self.max_attempts:
            return None
        delay = asked if asked is not None else self._planned(attempt, random())
        return None if elapsed + delay > self.max_total else delay

    def _planned(self, attempt: int, drawn: float) -> float:
        match self.shape:
            case "exponential":
                return (1 + drawn) / 2 * min(self.cap, self.base * 2.0 ** min(attempt - 1, 60))
            case "linear":
                return min(self.cap, self.base * attempt * (1 + drawn / 10))
            case _:
                return min(self.cap, self.base * (1 + drawn / 10))
