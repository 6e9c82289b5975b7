"""How a dependency is asked."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .component import Component

__all__ = ["Check", "Degraded", "Probe"]

Probe = Callable[[], Awaitable[Mapping[str, Any] | Sequence[Component] | None]]
"""Asks a dependency something that it can't answer from memory; whatever it raises means that it can't be reached.

It may return figures for operators, or the components that it asked for on others' behalf.
"""


class Degraded(Exception):
    """Raised by a probe of something that is away, and whose absence is made up for so far; the message says how."""

    def __init__(self, description: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(description)
        self.data = dict(data or {})


@dataclass(frozen=True, kw_only=True)
class Check:
    """A probe, and how often and how patiently it is called.

    Attributes
    ----------
    app:
        The function app that calls it: the one that may, and that would suffer. Others read what it reports.
    interval:
        Seconds from the beginning of one call to the next: it is never called more often by one process.
    timeout:
        Seconds after which an answer doesn't count any more; below the interval.
    threshold:
        Seconds after which an answer counts as slow, which is degraded.
    weight:
        See `Component`; it counts where the API itself asks.
    """

    ask: Probe
    app: str = "api"
    interval: float = 5.0
    timeout: float = 2.0
    threshold: float = 0.5
    weight: float = field(default=1.0)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= self.timeout < self.interval < math.inf:
            raise ValueError(
                f"a check with threshold {self.threshold:g} s, time-out {self.timeout:g} s and interval "
                f"{self.interval:g} s: each must be above 0, and no longer than the next"
            )
        if not 0 <= self.weight <= 1:
            raise ValueError(f"a check with the weight {self.weight:g}: use 0 to 1")

    @classmethod
    def of(cls, probe: "Probe | Check") -> "Check":
        """A probe as it comes, or the check that it is."""
        return probe if isinstance(probe, cls) else cls(ask=probe)  # type: ignore[arg-type]
