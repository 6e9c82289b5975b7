"""Instruments: what counts, spreads and gauges, kept in this process until somebody reads it.

They are the app's own, since the SDK's cost several microseconds for each value, more than some of what they measure.
Off, an instrument is one comparison; on, two look-ups. Values are written by the event loop's thread.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["DURATIONS", "FEW", "MOST_SERIES", "SIZES", "Counter", "Gauge", "Histogram", "Instrument", "Point", "Spread"]

MOST_SERIES = 500
"""Combinations of attributes that an instrument keeps apart; what comes after is counted under `other`."""
LONGEST_VALUE = 100
OTHER = "other"
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 1_800, 3_600)
"""Seconds: those of the semantic conventions up to 10, and what messages may wait."""
SIZES = (1_024, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 104_857_600)
FEW = (1, 2, 3, 5, 8, 13, 21, 50, 100, 200)

Labels = tuple[tuple[str, str], ...]
Key = tuple[tuple[str, object], ...]
Watched = Callable[[], Iterable[tuple[float, Mapping[str, object]]]]


@dataclass(frozen=True, slots=True)
class Spread:
    """How values were spread: how many in each bucket, the last one without an end, and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def below(self, bound: float) -> int:
        """How many values were at most this, which is one of the bounds."""
        return sum(self.counts[: self.bounds.index(bound) + 1])


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of attributes with its value."""

    attributes: Mapping[str, str]
    value: float | Spread


class Instrument:
    """An instrument that is there before anybody listens.

    Parameters
    ----------
    name, unit, description:
        As OpenTelemetry has them: dotted lower case, UCUM.
    prometheus:
        The name in Prometheus text where it isn't the one that follows from name and unit.
    """

    kind = ""

    def __init__(self, name: str, *, unit: str, description: str, prometheus: str = "") -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.prometheus = prometheus
        self.is_on = False
        self._forget()

    def connect(self, on: bool) -> None:
        """Keep values from now on, or no longer; what was kept is forgotten."""
        self.is_on = on
        self._forget()

    def points(self) -> Iterator[Point]:
        """Every value."""
        raise NotImplementedError

    def _forget(self) -> None:
        raise NotImplementedError

    def _new(self, kept: int, attributes: Mapping[str, object]) -> Key:
        """The attributes under which a combination that wasn't met yet is kept."""
        if kept >= MOST_SERIES - 1:
            return tuple((name, OTHER) for name in attributes)
        return tuple(attributes.items())


def labels(key: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Attributes as text of bounded length, in order of their names."""
    return {name: str(value)[:LONGEST_VALUE] for name, value in sorted(key)}


V = TypeVar("V")


def _merged(values: Mapping[Key, V], add: Callable[[V, V], V]) -> Iterator[tuple[dict[str, str], V]]:
    """By attributes in order of their names, however they were given."""
    found: dict[Labels, V] = {}
    for key, value in list(values.items()):
        ordered = tuple(labels(key).items())
        found[ordered] = add(found[ordered], value) if ordered in found else value
    return ((dict(ordered), value) for ordered, value in found.items())


class Counter(Instrument):
    """What only grows."""

    kind = "counter"

    def _forget(self) -> None:
        self._values: dict[Key, float] = {}

    def add(self, amount: float = 1, **attributes: object) -> None:
        """Count some more."""
        if self.is_on:
            key = tuple(attributes.items())
            values = self._values
            if key not in values:
                key = self._new(len(values), attributes)
            values[key] = values.get(key, 0) + amount

    def points(self) -> Iterator[Point]:
        """See `Instrument`."""
        if self.is_on:
            for attributes, value in _merged(self._values, lambda one, other: one + other):
                yield Point(attributes, value)


class Gauge(Instrument):
    """How much there is of something now."""

    kind = "gauge"

    def __init__(self, name: str, *, unit: str, description: str, prometheus: str = "") -> None:
        super().__init__(name, unit=unit, description=description, prometheus=prometheus)
        self._read: Watched = tuple

    def _forget(self) -> None:
        self._values: dict[Key, float] = {}

    def set(self, value: float, **attributes: object) -> None:
        """So much now."""
        if self.is_on:
            self._values[self._key(attributes)] = value

    def add(self, amount: float, **attributes: object) -> None:
        """So much more than before, or less."""
        if self.is_on:
            key = self._key(attributes)
            self._values[key] = self._values.get(key, 0) + amount

    def watch(self, read: Watched) -> None:
        """Have values read when somebody asks for them, by the last who says how; what fails then is left out."""
        self._read = read

    def _key(self, attributes: Mapping[str, object]) -> Key:
        key = tuple(attributes.items())
        return key if key in self._values else self._new(len(self._values), attributes)

    def points(self) -> Iterator[Point]:
        """See `Instrument`."""
        if not self.is_on:
            return
        with suppress(Exception):  # what is watched may be closing
            yield from [Point(labels(attributes.items()), float(value)) for value, attributes in self._read()]
        for attributes, value in _merged(self._values, lambda _, last: last):
            yield Point(attributes, value)


class Histogram(Instrument):
    """How values are spread: durations in seconds, sizes in bytes.

    Parameters
    ----------
    bounds:
        Upper bounds of the buckets, in order.
    """

    kind = "histogram"

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        description: str,
        prometheus: str = "",
        bounds: tuple[float, ...] = DURATIONS,
    ) -> None:
        super().__init__(name, unit=unit, description=description, prometheus=prometheus)
        self.bounds = bounds

    def _forget(self) -> None:
        self._values: dict[Key, list[float]] = {}

    def record(self, value: float, **attributes: object) -> None:
        """One more value; what is no number is left out."""
        if self.is_on:
            key = tuple(attributes.items())
            found = self._values.get(key)
            if found is None:
                key = self._new(len(self._values), attributes)
                found = self._values.setdefault(key, [0.0] * (len(self.bounds) + 2))
            if math.isfinite(value):
                found[bisect_left(self.bounds, value)] += 1
                found[-1] += value

    def points(self) -> Iterator[Point]:
        """See `Instrument`."""
        if self.is_on:
            for attributes, found in _merged(self._values, _together):
                yield Point(attributes, Spread(self.bounds, tuple(map(int, found[:-1])), found[-1]))


def _together(one: list[float], other: list[float]) -> list[float]:
    return [a + b for a, b in zip(one, other, strict=True)]
