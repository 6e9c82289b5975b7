"""Metrics: nothing while nobody listens; then every instrument under its name and unit."""

from __future__ import annotations

import re
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared.telemetry import Metrics
from shared.telemetry.metrics import Counter, Gauge, Histogram, instruments


@pytest.fixture
def listening() -> Iterator[InMemoryMetricReader]:
    """All instruments, heard by a reader."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("sluice")
    for one in instruments():
        one.connect(meter)
    yield reader
    for one in instruments():
        one.connect(None)


def heard(reader: InMemoryMetricReader) -> dict[str, tuple[str, list[tuple[dict[str, object], float]]]]:
    """Name → unit and data points: attributes with the value, or the sum of a histogram."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: (
            metric.unit or "",
            [
                (dict(point.attributes or {}), float(getattr(point, "value", getattr(point, "sum", 0))))
                for point in metric.data.data_points
            ],
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_each_kind_is_recorded_with_its_unit_and_attributes(listening: InMemoryMetricReader) -> None:
    """A counter adds up, a histogram spreads, a gauge has the last word."""
    Metrics.stream_events.add(consumer="a", outcome="consumed")
    Metrics.stream_events.add(2, consumer="a", outcome="consumed")
    Metrics.stream_delay.record(0.5, consumer="a")
    Metrics.keys_cached.set(7, kind="data")
    Metrics.keys_cached.set(3, kind="data")
    assert heard(listening) == {
        "sluice.stream.events": ("{event}", [({"consumer": "a", "outcome": "consumed"}, 3.0)]),
        "sluice.stream.delay": ("s", [({"consumer": "a"}, 0.5)]),
        "sluice.keys.cached": ("{key}", [({"kind": "data"}, 3.0)]),
    }


def test_names_and_units_are_said_once_and_as_the_conventions_have_them() -> None:
    """OpenTelemetry's: dotted lower case, UCUM units."""
    names = [one.name for one in instruments()]
    assert len(names) == len(set(names))
    for one in instruments():
        assert isinstance(one, Counter | Gauge | Histogram)
        assert re.fullmatch(r"sluice(\.[a-z]+)+", one.name)
        assert one.unit in ("s", "By") or re.fullmatch(r"\{[a-z]+\}", one.unit)
        assert one.description


def test_the_runbook_lists_every_metric(project: Path) -> None:
    """With its kind and unit."""
    page = (project / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(sluice\.[a-z.]+)` \| (\w+), `([^`]+)` \|", page, re.MULTILINE)
    assert listed == [(one.name, type(one).__name__.lower(), one.unit) for one in instruments()]


def test_off_an_instrument_costs_next_to_nothing() -> None:
    """0.1 µs were measured; a hundred times that would still be no reason to leave one out."""
    counter = Counter("sluice.test", unit="{test}", description="A test.")
    spent = min(timeit.repeat(lambda: counter.add(consumer="a", outcome="b"), number=1_000, repeat=5))
    assert spent / 1_000 < 10e-6
