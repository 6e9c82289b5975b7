"""Metrics over HTTP, as Prometheus reads them: on the local stack, and where nothing else collects them."""

from functions.metrics import metrics_route
from functions.triggers import AppName
from shared.health import Check, Objectives
from shared.telemetry import Metrics
from shared.telemetry.instruments import Spread
from shared.telemetry.runtime import LoopWatch

from .capability import Capability
from .composition import Composition

__all__ = ["capability"]


def capability(composition: Composition) -> Capability:
    """A route where the settings have one, and what the process itself is measured by."""
    watch = LoopWatch()
    composition.on_close(watch.close)
    objectives = Check(ask=Objectives(_counted).ask, app=AppName.STREAMS, interval=10, timeout=1, weight=0)
    return Capability(
        name="metrics",
        probes={"objectives": objectives},
        routes=[metrics_route(watch)] if composition.settings.metrics else [],
        metrics=[
            Metrics.http_duration,
            Metrics.open_connections,
            Metrics.loop_lag,
            Metrics.gc_pause,
            Metrics.memory,
            Metrics.cpu,
        ],
        settings=["SLUICE_METRICS"],
    )


def _counted() -> dict[str, tuple[float, float]]:
    """By lane, how many messages of this process met its objective, and how many didn't."""
    found: dict[str, tuple[float, float]] = {}
    for point in Metrics.messages_objective.points():
        met, missed = found.get(point.attributes["lane"], (0.0, 0.0))
        count = float(point.value) if not isinstance(point.value, Spread) else 0.0
        is_met = point.attributes["met"] == "yes"
        found[point.attributes["lane"]] = (met + count, missed) if is_met else (met, missed + count)
    return found
