"""Turns telemetry on as the settings say; what an exporter needs is imported only where it is used."""

import atexit
import os
import socket
from pathlib import Path

from . import metrics
from .logs import configure_json, configure_platform, quiet_libraries
from .redaction import guard_log_records
from .runtime import watch_process
from .settings import TelemetrySettings
from .spans import Sink
from .tracing import TRACING

__all__ = ["configure"]

FLUSH_SECONDS = 5.0
"""What the end of the process waits at most for telemetry: the platform gives a stopping worker ten."""


def configure(settings: TelemetrySettings) -> None:
    """Set up logs and the exporter; call once, when the app is composed."""
    guard_log_records()
    quiet_libraries()
    if settings.log_format == "json":
        configure_json()
    else:
        configure_platform()
    sinks: list[Sink] = []
    if settings.exporter != "none":
        from .exporting import exporter  # the SDK is loaded where it has something to do

        sinks.append(exporter(settings, _resource()))
    if settings.exporter != "none" or settings.metrics:
        metrics.enable()
        watch_process()
    if settings.span_store is not None and settings.telemetry != "none":
        from .span_store import store_sink

        sinks.append(store_sink(Path(settings.span_store), most=settings.span_store_most, process=process_name()))
    if sinks:
        TRACING.start(*sinks, ratio=settings.trace_ratio, slow_seconds=settings.trace_slow_seconds)
        atexit.register(TRACING.stop, FLUSH_SECONDS)


def process_name() -> str:
    """Which process of which app this is, where people look at spans."""
    app = os.environ.get("WEBSITE_SITE_NAME") or "sluice"
    return f"{app}/{os.environ.get('WEBSITE_INSTANCE_ID', socket.gethostname())[:12]}/{os.getpid()}"


def _resource() -> dict[str, str]:
    app = os.environ.get("WEBSITE_SITE_NAME") or "sluice"
    return {"service.name": app, "service.instance.id": process_name(), "service.namespace": "sluice"}
