"""Metrics: what the app counts and measures, every name and unit in one place.

Off, an instrument is one comparison (0.13 µs with two attributes on one core). Attributes have few values each: never a
key, an id or anything that a message holds.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import Meter
from opentelemetry.util.types import AttributeValue

__all__ = ["Counter", "Gauge", "Histogram", "Instrument", "Metrics", "enable", "instruments"]

R = TypeVar("R", contravariant=True)


class Instrument(Generic[R]):
    """An instrument that is there before anybody listens."""

    __slots__ = ("_make", "_real", "description", "name", "unit")

    def __init__(self, make: Callable[[Meter, str, str, str], R], name: str, unit: str, description: str) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self._make = make
        self._real: R | None = None

    def connect(self, meter: Meter | None) -> None:
        """Record from now on, or no longer."""
        self._real = None if meter is None else self._make(meter, self.name, self.unit, self.description)


class Counter(Instrument[metrics.Counter]):
    """What only grows."""

    def __init__(self, name: str, *, unit: str, description: str) -> None:
        super().__init__(lambda meter, *named: meter.create_counter(*named), name, unit, description)

    def add(self, amount: float = 1, **attributes: AttributeValue) -> None:
        """Count some more."""
        if self._real is not None:
            self._real.add(amount, attributes)


class Histogram(Instrument[metrics.Histogram]):
    """How values are spread: durations in seconds, sizes in bytes."""

    def __init__(self, name: str, *, unit: str, description: str) -> None:
        super().__init__(lambda meter, *named: meter.create_histogram(*named), name, unit, description)

    def record(self, value: float, **attributes: AttributeValue) -> None:
        """One more value."""
        if self._real is not None:
            self._real.record(value, attributes)


class Gauge(Instrument[metrics._Gauge]):
    """How much there is of something now."""

    def __init__(self, name: str, *, unit: str, description: str) -> None:
        super().__init__(lambda meter, *named: meter.create_gauge(*named), name, unit, description)

    def set(self, value: float, **attributes: AttributeValue) -> None:
        """So much now."""
        if self._real is not None:
            self._real.set(value, attributes)


class Metrics:
    """Every instrument of the app."""

    stream_events = Counter(
        "sluice.stream.events",
        unit="{event}",
        description="Events read from a hub, by consumer and outcome: consumed, duplicate, poison or expired",
    )
    stream_delay = Histogram(
        "sluice.stream.delay",
        unit="s",
        description="From the time of an event to its reading, by consumer",
    )
    unknown_fields = Counter(
        "sluice.messages.unknown",
        unit="{field}",
        description="Fields that a message or event holds beyond its contract, tolerated, by event type and version",
    )
    vault_reads = Counter(
        "sluice.vault.reads",
        unit="{read}",
        description="Reads of the key vault by the cache of secrets, by outcome: read, or the name of its error",
    )
    vault_duration = Histogram(
        "sluice.vault.duration",
        unit="s",
        description="How long a read of the key vault takes, its wait for the instance's share included",
    )
    partner_calls = Counter(
        "sluice.partner.calls",
        unit="{call}",
        description="Tries of partner calls, by partner, endpoint and outcome such as done or throttled",
    )
    partner_duration = Histogram(
        "sluice.partner.duration",
        unit="s",
        description="How long a try of a partner call takes, by partner and endpoint",
    )
    partner_open = Gauge(
        "sluice.partner.open",
        unit="{breaker}",
        description="Whether this instance has opened the breaker of a partner's endpoints: 1 open, 0 closed again",
    )
    keys_cached = Gauge(
        "sluice.keys.cached",
        unit="{key}",
        description="Keys in memory, by kind: data or subject",
    )


def instruments() -> list[Instrument[object]]:
    """All of the app's."""
    return [one for one in vars(Metrics).values() if isinstance(one, Instrument)]


def enable(on: bool = True) -> None:
    """Have all instruments record to the process's meter provider; call once it is set."""
    meter = metrics.get_meter("sluice") if on else None
    for instrument in instruments():
        instrument.connect(meter)
