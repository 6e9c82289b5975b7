"""Exporters: spans as the SDK's, to Azure Monitor, an OTLP receiver or the console, and metrics beside them.

Loaded only where something is exported. Logs don't go this way unless the worker says to the host that they do: the
worker hands them to the host, which exports them.
"""

import atexit
import logging
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from .background import BackgroundSink
from .metric_export import MetricExport
from .metrics import every
from .settings import TelemetrySettings
from .spans import RecordedSpan
from .tracing import TRACING

__all__ = ["SpanExport", "exporter"]

EXPORT_SECONDS = 2.0
METRICS_SECONDS = 2.0
"""What the end of the process waits at most for the last metrics."""
_SCOPE = InstrumentationScope("sluice")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_RATE = "_MS.sampleRate"
"""How Azure Monitor learns that a span stands for several: its queries count by it."""


class SpanExport:
    """Hands spans to an SDK's exporter.

    Parameters
    ----------
    ratio:
        Given, spans carry the rate by which their trace was chosen; those that were kept for their end carry none.
    """

    def __init__(self, exporter: SpanExporter, resource: Resource, *, ratio: float | None = None) -> None:
        self._exporter = exporter
        self._resource = resource
        self._ratio = ratio

    def write(self, spans: Sequence[RecordedSpan]) -> None:
        """Export; what the exporter can't deliver it has reported itself."""
        self._exporter.export([self._readable(one) for one in spans])

    def close(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def _readable(self, span: RecordedSpan) -> ReadableSpan:
        attributes: dict[str, Any] = dict(span.attributes)
        if self._ratio is not None and self._ratio < 1 and TRACING.chooses(span.trace_id):
            attributes[_RATE] = self._ratio * 100
        above = SpanContext(span.trace_id, span.parent_id, is_remote=False, trace_flags=_SAMPLED)
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=_SAMPLED),
            parent=above if span.parent_id else None,
            resource=self._resource,
            attributes=attributes,
            events=[Event(name, given, at) for name, at, given in span.events],
            links=span.links,
            kind=span.kind,
            status=Status() if span.problem is None else Status(StatusCode.ERROR, span.problem),
            start_time=span.started_at,
            end_time=span.ended_at,
            instrumentation_scope=_SCOPE,
        )


def exporter(settings: TelemetrySettings, resource: dict[str, str]) -> BackgroundSink:
    """Where spans go by the settings; metrics go there too, from now on, and logs where nobody else exports them."""
    made = Resource.create(dict(resource))
    ratio: float | None = None
    match settings.exporter:
        case "azure-monitor":
            spans, measures = _azure_monitor(settings, made)
            ratio = settings.trace_ratio
        case "otlp":
            spans, measures = _otlp()
        case _:
            spans, measures = ConsoleSpanExporter(), ConsoleMetricExporter()
    metrics = MetricExport(measures, made, every)
    metrics.start()
    atexit.register(metrics.close, METRICS_SECONDS)
    export = SpanExport(spans, made, ratio=ratio)
    return BackgroundSink(settings.exporter, export.write, export.close, every=EXPORT_SECONDS)


def _azure_monitor(settings: TelemetrySettings, resource: Resource) -> tuple[SpanExporter, MetricExporter]:
    """By connection string; as whom is what APPLICATIONINSIGHTS_AUTHENTICATION_STRING says, a managed identity."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    assert settings.app_insights is not None
    to = settings.app_insights.get_secret_value()
    if settings.worker_propagates:
        _azure_monitor_logs(to, resource)
    return AzureMonitorTraceExporter(connection_string=to), AzureMonitorMetricExporter(connection_string=to)


def _azure_monitor_logs(to: str, resource: Resource) -> None:
    """Where the worker announces OpenTelemetry the host forwards none of its lines: the app exports its own."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(AzureMonitorLogExporter(connection_string=to)))
    logging.getLogger("sluice").addHandler(LoggingHandler(logger_provider=provider))


def _otlp() -> tuple[SpanExporter, MetricExporter]:
    """Over HTTP in protobuf; address and headers are read from the environment, as the standard says."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPMetricExporter()
