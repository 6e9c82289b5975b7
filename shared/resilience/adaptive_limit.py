"""How much may be under way at once before it is too much: learned from what overload looks like, by AIMD.

Additive increase, multiplicative decrease, as `AdaptiveBulkhead` has it for calls to others. Here nobody waits: what
comes beyond the limit is refused at once, the least important first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

__all__ = ["AdaptiveLimit", "Importance", "ShedPolicy"]

_LESS = 0.7
_MORE = 0.02
"""Of the limit that one quiet look adds: in two seconds as much as an overloaded one takes."""
_PAUSE = 0.5
"""Seconds between two decreases: what was under way when it began to be too much tells nothing new."""
_LOOKS = 2
"""Overloaded looks that follow each other before anything is refused: one may be a pause of the machine."""


class Importance(Enum):
    """The share of the limit that requests of a kind may fill: what is above it is kept for those above."""

    READ = 0.8
    WRITE = 0.9
    HIGH = 1.0


@dataclass(frozen=True, kw_only=True)
class ShedPolicy:
    """Bounds of what is under way in one process, and what counts as overload.

    Attributes
    ----------
    least, most:
        The bounds within which it learns; it begins with the most.
    lag:
        Seconds by which the event loop is late.
    storage:
        Seconds that requests to the stores and the broker take on average.
    backlog:
        Messages that wait to be sent.
    """

    least: int = 64
    most: int = 1_000
    lag: float = 0.25
    storage: float = 2.0
    backlog: int = 1_000

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most or not (self.lag > 0 and self.storage > 0 and self.backlog >= 1):
            raise ValueError("shedding: 1 <= least <= most; lag, storage and backlog are above 0")


class AdaptiveLimit:
    """Counts what is under way, and says whether one more may be.

    Parameters
    ----------
    clock:
        Seconds, monotonic.
    """

    def __init__(self, policy: ShedPolicy, *, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._limit = float(policy.most)
        self._running = 0
        self._overloaded = 0
        self._decreased_at = float("-inf")

    @property
    def limit(self) -> int:
        """What may be under way at the moment."""
        return int(self._limit)

    @property
    def running(self) -> int:
        """What is under way."""
        return self._running

    def enter(self, importance: Importance) -> bool:
        """Begin something; False, and nothing has begun, where there is no room for its kind."""
        if self._running >= max(1.0, self._limit * importance.value):
            return False
        self._running += 1
        return True

    def exit(self) -> None:
        """It has ended."""
        self._running -= 1

    def look(self, *, lag: float, storage: float, backlog: int) -> bool:
        """Learn from how the process is; whether it is overloaded.

        Parameters
        ----------
        lag, storage, backlog:
            As in the policy, since the last look.
        """
        policy = self._policy
        if lag < policy.lag and storage < policy.storage and backlog < policy.backlog:
            self._overloaded = 0
            self._limit = min(float(policy.most), self._limit * (1 + _MORE) + 0.5)
            return False
        self._overloaded += 1
        now = self._clock()
        if self._overloaded >= _LOOKS and now - self._decreased_at >= _PAUSE:
            self._decreased_at = now
            self._limit = max(float(policy.least), min(self._limit, float(self._running)) * _LESS)
        return True
