"""Turns telemetry on as the settings say; the exporter is imported only where it is used."""

from . import metrics
from .logs import configure_json, configure_platform, quiet_libraries
from .redaction import guard_log_records
from .settings import TelemetrySettings

__all__ = ["configure"]


def configure(settings: TelemetrySettings) -> None:
    """Set up logs and the exporter; call once, when the app is composed."""
    guard_log_records()
    quiet_libraries()
    if settings.log_format == "json":
        configure_json()
    else:
        configure_platform()
    exporter = settings.telemetry
    if exporter == "auto":
        exporter = "azure-monitor" if settings.app_insights is not None else "none"
    if exporter == "azure-monitor" and settings.app_insights is not None:
        _azure_monitor(settings.app_insights.get_secret_value())
        metrics.enable()
    elif exporter == "console":
        _console()
        metrics.enable()


def _azure_monitor(connection_string: str) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor

    configure_azure_monitor(connection_string=connection_string, logger_name="sluice")


def _console() -> None:
    from opentelemetry import metrics as api
    from opentelemetry import trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(provider)
    api.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())]))
