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
    telemetry: Literal["auto", "none", "azure-monitor", "console"] = Field("auto", alias="SLUICE_TELEMETRY")

    @field_validator("app_insights")
    @classmethod
    def _needed_at_start(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and SecretReference.of(value.get_secret_value()) is not None:
            raise ValueError("is needed before the vault can be read; use the platform's @Microsoft.KeyVault(...)")
        return value

    @contradiction("telemetry", "app_insights")
    def _somewhere_to_go(self) -> Iterator[str]:
        if self.telemetry == "azure-monitor" and self.app_insights is None:
            yield "SLUICE_TELEMETRY=azure-monitor needs APPLICATIONINSIGHTS_CONNECTION_STRING"
