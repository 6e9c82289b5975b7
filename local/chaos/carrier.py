"""The carrier of a drill: it fails three times in ten, is away for a while, and is counted at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from local_azure.partner import Rule
from local_azure.partner.server import RunningPartner

__all__ = ["DrillCarrier", "Parcels", "last_opening"]

_LABELS = {"method": "POST", "path": "/labels"}
_FAILURES = (
    {"chance": 0.10, "status": 503, "headers": {"Retry-After": "1"}},
    {"chance": 0.09, "status": 429, "headers": {"Retry-After": "1"}},
    {"chance": 0.10, "reset": "after"},  # the label is made, and nobody hears of it
    {"chance": 0.04, "delay": 30.0},  # longer than was agreed
)
"""Each is drawn among the requests that the ones before leave: together they take 30 in 100."""
_AWAY_FROM = 0.3
"""Share of the labels that are made before the carrier goes away."""
_LOOK_SECONDS = 0.2
_FIRST_OPENING = 10.0
"""Seconds for which the breaker of the sample's carrier opens at first; each probe that fails doubles it."""
_JITTER = 1.25
"""An opening takes up to a quarter longer."""
_PUT_OFF = 12.0
"""Seconds after which a message that was put off is back at the latest, once the carrier may be asked: those of its
jitter, and what a lane needs."""


@dataclass(frozen=True)
class Parcels:
    """What became of the orders' labels.

    Attributes
    ----------
    labels, missing, duplicates:
        Orders with a label, those without, and labels beyond the first of each.
    calls:
        Requests for labels in all.
    away_calls, usual_calls:
        Requests while the carrier was away, and in as long a time as usual.
    back_seconds, interval:
        From its return to the next label, and how long the breaker's last opening was at most.
    retried:
        Commands to ship that took more than one attempt.
    """

    labels: int
    missing: int
    duplicates: int
    calls: int
    away_calls: int
    usual_calls: int
    back_seconds: float
    interval: float
    retried: int

    @property
    def hold(self) -> bool:
        """Whether each order has one label. How fast all goes depends on the machine, and is only reported."""
        return not self.missing and not self.duplicates


@dataclass
class DrillCarrier:
    """Drives the simulated carrier through a drill.

    Parameters
    ----------
    orders:
        How many orders there are: it goes away once a part of them has its label.
    away:
        Seconds for which it is away.
    """

    partner: RunningPartner
    orders: int
    away: float
    say: Callable[[str], None]
    _left: int = 0
    _back: int = 0
    _left_at: float = 0.0
    _back_at: float = 0.0

    @property
    def labels(self) -> Counter[str]:
        """Order → its labels."""
        return Counter(str(one["reference"]) for one in self.partner.book.made.get("labels", ()))

    @property
    def state(self) -> tuple[int, int]:
        """What moves while it works: requests, and webhooks that are still to be sent."""
        return len(self.partner.book.asked), self.partner.sender.pending

    async def misbehave(self) -> None:
        """Fail, go away once enough is made, come back, and go on failing."""
        own, failing = list(self.partner.script.rules), [Rule.of({**_LABELS, **one}) for one in _FAILURES]
        asked = self.partner.book.asked
        self.partner.script.rules = [*own, *failing]
        while len(self.labels) < _AWAY_FROM * self.orders:  # noqa: ASYNC110 - the progress of others, now and then
            await asyncio.sleep(_LOOK_SECONDS)
        self.say(f"the carrier is away for {self.away:.0f} s")
        self._left, self._left_at = len(asked), self.partner.seconds()
        self.partner.script.rules = [Rule.of({"reset": "before"})]
        await asyncio.sleep(self.away)
        self.partner.script.rules = [*own, *failing]
        self._back, self._back_at = len(asked), self.partner.seconds()
        self.say(f"the carrier is back; it was asked {self._back - self._left} times meanwhile")

    def judged(self, orders: Collection[str], attempts: Mapping[str, int]) -> Parcels:
        """What came of it, once nothing moves any more."""
        labels, asked = self.labels, self.partner.book.asked
        before = [one.at for one in asked[: self._left]]
        working = before[-1] - before[0] if len(before) > 1 else self.away
        made = [one.at for one in asked[self._back :] if one.status == 201]
        return Parcels(
            labels=sum(one in labels for one in orders),
            missing=sum(one not in labels for one in orders),
            duplicates=sum(max(0, labels[one] - 1) for one in orders),
            calls=len(asked),
            away_calls=self._back - self._left,
            usual_calls=round(len(before) * self.away / max(working, 1.0)),
            back_seconds=made[0] - self._back_at if made else float("inf"),
            interval=last_opening(self.away) + _PUT_OFF,
            retried=sum(one > 1 for one in attempts.values()),
        )


def last_opening(away: float) -> float:
    """Seconds of the opening in which a carrier comes back that was away for so long: each is twice the one before.

    Example
    -------
    >>> [last_opening(away) for away in (5, 20, 60)]
    [12.5, 25.0, 50.0]
    """
    opening, passed = _FIRST_OPENING, _FIRST_OPENING
    while passed < away:
        opening *= 2
        passed += opening
    return opening * _JITTER
