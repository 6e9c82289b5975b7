"""Metrics: nothing while nobody listens; then every instrument under its name and unit."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
import timeit
from collections.abc import Iterator
from pathlib import Path

import opentelemetry.semconv._incubating.metrics as conventions
import pytest

from shared.telemetry import Metrics
from shared.telemetry.instruments import MOST_SERIES, Counter, Gauge, Histogram, Spread
from shared.telemetry.metrics import enable, instruments


@pytest.fixture
def listening() -> Iterator[None]:
    """All instruments are on."""
    enable()
    yield
    enable(False)


def heard() -> dict[str, tuple[str, list[tuple[dict[str, str], float]]]]:
    """Name → unit and data points: attributes with the value, or the sum of a histogram."""
    found = {
        one.name: (
            one.unit,
            [
                (dict(point.attributes), point.value.total if isinstance(point.value, Spread) else point.value)
                for point in one.points()
            ],
        )
        for one in instruments()
    }
    return {name: (unit, points) for name, (unit, points) in found.items() if points}


@pytest.mark.usefixtures("listening")
def test_each_kind_is_recorded_with_its_unit_and_attributes() -> None:
    """A counter adds up, a histogram spreads, a gauge has the last word."""
    Metrics.stream_events.add(consumer="a", outcome="consumed")
    Metrics.stream_events.add(2, outcome="consumed", consumer="a")
    Metrics.stream_delay.record(0.5, consumer="a")
    Metrics.keys_cached.set(7, kind="data")
    Metrics.keys_cached.set(3, kind="data")
    found = heard()
    watched = ("handlers", "secrets.cached")  # other tests' apps are asked for these
    assert {
        name: found[name] for name in found if name.startswith("sluice.") and not any(one in name for one in watched)
    } == {
        "sluice.stream.events": ("{event}", [({"consumer": "a", "outcome": "consumed"}, 3.0)]),
        "sluice.stream.delay": ("s", [({"consumer": "a"}, 0.5)]),
        "sluice.keys.cached": ("{key}", [({"kind": "data"}, 3.0)]),
    }


def test_names_and_units_are_said_once_and_as_the_conventions_have_them() -> None:
    """OpenTelemetry's: dotted lower case, UCUM units; what isn't ours is in the published conventions."""
    names = [one.name for one in instruments()]
    assert len(names) == len(set(names))
    modules = [
        importlib.import_module(f"{conventions.__name__}.{one.name}")
        for one in pkgutil.iter_modules(conventions.__path__)
    ]
    published = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    published |= {"http.server.request.duration"}  # stable, and so in another package
    for one in instruments():
        assert isinstance(one, Counter | Gauge | Histogram)
        assert re.fullmatch(r"sluice(\.[a-z]+)+", one.name) or one.name in published
        assert one.unit in ("s", "By", "1") or re.fullmatch(r"\{[a-z]+\}", one.unit)
        assert one.description


def test_the_runbook_lists_every_metric(project: Path) -> None:
    """With its kind and unit."""
    page = (project / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z]+\.[a-z._]+)` \| (\w+), `([^`]+)` \|", page, re.MULTILINE)
    assert listed == [(one.name, type(one).__name__.lower(), one.unit) for one in instruments()]


def test_off_an_instrument_costs_next_to_nothing() -> None:
    """0.1 µs were measured; a hundred times that would still be no reason to leave one out."""
    counter = Counter("sluice.test", unit="{test}", description="A test.")
    spent = min(timeit.repeat(lambda: counter.add(consumer="a", outcome="b"), number=1_000, repeat=5))
    assert spent / 1_000 < 10e-6
    assert list(counter.points()) == []


def test_ten_thousand_keys_overflow_into_other() -> None:
    """Memory is bounded, and nothing that was counted is lost."""
    counter = Counter("sluice.test", unit="{test}", description="A test.")
    histogram = Histogram("sluice.test", unit="s", description="A test.")
    gauge = Gauge("sluice.test", unit="{test}", description="A test.")
    for one in (counter, histogram, gauge):
        one.connect(True)
    for number in range(10_000):
        counter.add(key=f"k{number}", lane="high")
        histogram.record(1, key=f"k{number}")
        gauge.set(number, key=f"k{number}")
    assert len(list(counter.points())) == len(list(histogram.points())) == len(list(gauge.points())) == MOST_SERIES
    counts = {point.attributes["key"]: point.value for point in counter.points()}
    assert counts["k0"] == 1
    assert counts["other"] == 10_000 - MOST_SERIES + 1
    assert sum(float(value) for value in counts.values() if not isinstance(value, Spread)) == 10_000
    spread = [point.value for point in histogram.points()]
    assert sum(one.count for one in spread if isinstance(one, Spread)) == 10_000
    counter.add(key="k0", lane="high")
    assert next(point.value for point in counter.points() if point.attributes["key"] == "k0") == 2


def test_values_fall_into_the_bucket_whose_bound_they_do_not_exceed() -> None:
    """As "less or equal" says; what is no number is left out."""
    histogram = Histogram("sluice.test", unit="s", description="A test.", bounds=(1, 10))
    histogram.connect(True)
    for value in (0, 1, 1.5, 10, 11, math.nan, math.inf, -1):
        histogram.record(value)
    (point,) = histogram.points()
    assert point.value == Spread((1, 10), (3, 2, 1), 22.5)
    assert isinstance(point.value, Spread)
    assert (point.value.count, point.value.below(10)) == (6, 5)


def test_a_long_value_is_cut_and_what_is_watched_may_fail() -> None:
    """Neither is anybody's failure."""
    gauge = Gauge("sluice.test", unit="{test}", description="A test.")
    gauge.connect(True)
    gauge.watch(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    gauge.set(1, key="x" * 10_000)
    (point,) = gauge.points()
    assert len(point.attributes["key"]) == 100


def test_switched_off_everything_is_forgotten() -> None:
    """And it begins at nothing when it is on again."""
    counter = Counter("sluice.test", unit="{test}", description="A test.")
    counter.connect(True)
    counter.add(5)
    counter.connect(False)
    counter.add(5)
    counter.connect(True)
    assert list(counter.points()) == []
