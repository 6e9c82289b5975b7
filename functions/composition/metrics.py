"""Metrics over HTTP, as Prometheus reads them: on the local stack, and where nothing else collects them."""

from functions.metrics import metrics_route
from shared.telemetry import Metrics
from shared.telemetry.runtime import LoopWatch

from .capability import Capability
from .composition import Composition

__all__ = ["capability"]


def capability(composition: Composition) -> Capability:
    """A route where the settings have one, and what the process itself is measured by."""
    watch = LoopWatch()
    composition.on_close(watch.close)
    return Capability(
        name="metrics",
        routes=[metrics_route(watch)] if composition.settings.metrics else [],
        metrics=[Metrics.http_duration, Metrics.loop_lag, Metrics.gc_pause, Metrics.memory, Metrics.cpu],
        settings=["SLUICE_METRICS"],
    )
