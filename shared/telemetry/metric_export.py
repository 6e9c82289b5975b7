"""Hands the instruments to an SDK's exporter, from a thread of its own; loaded only where something is exported."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .instruments import Instrument, Point, Spread
from .logs import log_event

__all__ = ["MetricExport"]

EVERY_SECONDS = 60.0
_SCOPE = InstrumentationScope("sluice")
Key = tuple[str, tuple[tuple[str, str], ...]]


class MetricExport:
    """Exports everything once a minute, and at the end.

    Parameters
    ----------
    exporter:
        Says whether it wants what was added since the last time, or all since the start.
    instruments:
        What there is to export at a moment.
    """

    def __init__(
        self, exporter: MetricExporter, resource: Resource, instruments: Callable[[], Iterable[Instrument]]
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        self._instruments = instruments
        wanted = exporter._preferred_temporality or {}
        self._is_delta = wanted.get(SdkCounter) is AggregationTemporality.DELTA
        self._began = self._last = time.time_ns()
        self._before: dict[Key, float | Spread] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Return when the last values are exported, or that long has passed."""
        self._ending.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ending.wait(EVERY_SECONDS)
            try:
                self._exporter.export(self.collect())
            except Exception as error:  # whatever it is, it is no message's failure
                log_event(
                    "metrics not exported", level=logging.WARNING, reason=f"{type(error).__name__}: {error}"[:300]
                )
        self._exporter.shutdown()

    def collect(self) -> MetricsData:
        """What there is, as the exporter wants it."""
        now = time.time_ns()
        found = [metric for one in self._instruments() if (metric := self._metric(one, now)) is not None]
        self._last = now
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, found, "")], "")])

    def _metric(self, one: Instrument, now: int) -> Metric | None:
        points = list(one.points())
        if not points:
            return None
        temporality = AggregationTemporality.DELTA if self._is_delta else AggregationTemporality.CUMULATIVE
        start = self._last if self._is_delta else self._began
        data: Any
        if one.kind == "gauge":
            data = Gauge([_number(point, point.value, now, now) for point in points])
        elif one.kind == "counter":
            data = Sum([_number(p, self._since(one, p), start, now) for p in points], temporality, is_monotonic=True)
        else:
            data = HistogramData([_spread(p, self._since(one, p), start, now) for p in points], temporality)
        return Metric(one.name, one.description, one.unit, data)

    def _since(self, one: Instrument, point: Point) -> float | Spread:
        """A value as it is, or what was added to it since the last time."""
        if not self._is_delta:
            return point.value
        key = (one.name, tuple(point.attributes.items()))
        before, self._before[key] = self._before.get(key), point.value
        return point.value if before is None else _difference(point.value, before)


def _difference(now: float | Spread, before: float | Spread) -> float | Spread:
    if isinstance(now, Spread) and isinstance(before, Spread):
        counts = tuple(a - b for a, b in zip(now.counts, before.counts, strict=True))
        return Spread(now.bounds, counts, now.total - before.total)
    assert not isinstance(now, Spread)
    assert not isinstance(before, Spread)
    return now - before


def _number(point: Point, value: float | Spread, start: int, now: int) -> NumberDataPoint:
    assert not isinstance(value, Spread)
    return NumberDataPoint(dict(point.attributes), start, now, value)


def _spread(point: Point, value: float | Spread, start: int, now: int) -> HistogramDataPoint:
    assert isinstance(value, Spread)
    lowest, highest = (0.0, 0.0) if value.count == 0 else (_lowest(value), _highest(value))
    return HistogramDataPoint(
        attributes=dict(point.attributes),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=value.count,
        sum=value.total,
        bucket_counts=list(value.counts),
        explicit_bounds=list(value.bounds),
        min=lowest,
        max=highest,
    )


def _lowest(value: Spread) -> float:
    """The lower bound of the first bucket that isn't empty."""
    first = next(number for number, count in enumerate(value.counts) if count)
    return 0.0 if first == 0 else value.bounds[first - 1]


def _highest(value: Spread) -> float:
    """The upper bound of the last bucket that isn't empty; of the one without an end, its lower one."""
    last = max(number for number, count in enumerate(value.counts) if count)
    return value.bounds[min(last, len(value.bounds) - 1)]
