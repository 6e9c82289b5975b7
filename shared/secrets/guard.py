"""Keeps the reads of one instance under its share of a vault's limit. Pure: time is passed in."""

from collections import deque
from math import inf

__all__ = ["RateGuard"]

WINDOW = 10.0
"""Seconds over which Key Vault counts (4,000 secret reads per vault: "Key Vault service limits")."""


class RateGuard:
    """Gives out moments to read at, at most `limit` within any ten seconds."""

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or limit < 1:
            raise ValueError(f"limit is {limit!r}, must be 1 or more")
        self._limit = limit
        self._slots: deque[float] = deque(maxlen=limit)
        self._paused_until = -inf

    def reserve(self, now: float, *, within: float) -> float | None:
        """Seconds to wait before a read, or None where that would be longer than `within`."""
        slot = max(now, self._paused_until)
        if len(self._slots) == self._limit:
            slot = max(slot, self._slots[0] + WINDOW)
        if self._slots:
            slot = max(slot, self._slots[-1])  # in order, so that the first is the oldest
        if slot - now > within:
            return None
        self._slots.append(slot)
        return slot - now

    def pause(self, until: float) -> None:
        """No reads before a moment: the vault asked for it, or doesn't answer."""
        self._paused_until = max(self._paused_until, until)
