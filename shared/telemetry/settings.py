"""Settings of telemetry: the form of log lines, and where spans, metrics and logs go."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from shared.environment import SecretReference, SettingsSlice, contradiction

__all__ = ["TelemetrySettings"]


class TelemetrySettings(SettingsSlice):
    """What the app reports of itself, and to whom."""

    log_format: Literal["platform", "json"] = Field("platform", alias="SLUICE_LOG_FORMAT")
    app_insights: SecretStr | None = Field(None, alias="APPLICATIONINSIGHTS_CONNECTION_STRING")
    telemetry: Literal["auto", "none", "azure-monitor", "otlp", "console"] = Field("auto", alias="SLUICE_TELEMETRY")
    otlp_endpoint: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_ENDPOINT", pattern=r"^https?://[^\s/]+\S*$")
    span_store: str | None = Field(None, alias="SLUICE_SPAN_STORE")
    span_store_most: int = Field(500_000, alias="SLUICE_SPAN_STORE_MOST", ge=1_000, le=20_000_000)
    trace_ratio: float = Field(1.0, alias="SLUICE_TRACE_RATIO", ge=0, le=1)
    trace_slow_seconds: float = Field(60.0, alias="SLUICE_TRACE_SLOW_SECONDS", gt=0)
    metrics: bool = Field(False, alias="SLUICE_METRICS")
    """Whether metrics are read over HTTP, as Prometheus does."""
    worker_exports: bool = Field(False, alias="PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY")
    worker_propagates: bool = Field(False, alias="PYTHON_ENABLE_OPENTELEMETRY")

    @property
    def exporter(self) -> Literal["none", "azure-monitor", "otlp", "console"]:
        """Where spans and metrics go, the local store aside."""
        if self.telemetry != "auto":
            return self.telemetry
        if self.app_insights is not None:
            return "azure-monitor"
        return "none" if self.otlp_endpoint is None else "otlp"

    @field_validator("app_insights")
    @classmethod
    def _needed_at_start(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and SecretReference.of(value.get_secret_value()) is not None:
            raise ValueError("is needed before the vault can be read; use the platform's @Microsoft.KeyVault(...)")
        return value

    @contradiction("telemetry", "app_insights", "otlp_endpoint")
    def _somewhere_to_go(self) -> Iterator[str]:
        if self.telemetry == "azure-monitor" and self.app_insights is None:
            yield "SLUICE_TELEMETRY=azure-monitor needs APPLICATIONINSIGHTS_CONNECTION_STRING"
        if self.telemetry == "otlp" and self.otlp_endpoint is None:
            yield "SLUICE_TELEMETRY=otlp needs OTEL_EXPORTER_OTLP_ENDPOINT"

    @contradiction("telemetry", "app_insights", "otlp_endpoint", "worker_exports")
    def _one_road(self) -> Iterator[str]:
        if self.worker_exports and self.exporter != "none":
            yield (
                "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY=true has the worker export what the app exports already: "
                "take it away, or set SLUICE_TELEMETRY=none"
            )
