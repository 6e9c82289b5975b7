"""Settings of processing: how long handlers run, how many side by side, and when a message is tried again."""

from collections.abc import Iterator

from pydantic import Field

from shared.environment import SettingsSlice, contradiction

__all__ = ["ProcessingSettings"]


class ProcessingSettings(SettingsSlice):
    """How messages are processed."""

    handler_timeout_seconds: float = Field(20.0, alias="SLUICE_HANDLER_TIMEOUT_SECONDS", gt=0, le=240)
    batch_budget_seconds: float = Field(22.0, alias="SLUICE_BATCH_BUDGET_SECONDS", gt=0, le=270)
    handler_concurrency: int = Field(32, alias="SLUICE_HANDLER_CONCURRENCY", ge=1, le=1_000)
    retry_max_attempts: int = Field(21, alias="SLUICE_RETRY_MAX_ATTEMPTS", ge=1, le=100)
    retry_base_seconds: float = Field(2.0, alias="SLUICE_RETRY_BASE_SECONDS", gt=0, le=3_600)
    retry_cap_seconds: float = Field(600.0, alias="SLUICE_RETRY_CAP_SECONDS", gt=0, le=86_400)
    retry_budget_share: float = Field(0.2, alias="SLUICE_RETRY_BUDGET_SHARE", ge=0, le=10)

    @contradiction("retry_base_seconds", "retry_cap_seconds")
    def _growing_delays(self) -> Iterator[str]:
        if self.retry_cap_seconds < self.retry_base_seconds:
            yield "SLUICE_RETRY_CAP_SECONDS is below SLUICE_RETRY_BASE_SECONDS"

    @contradiction("batch_budget_seconds", "handler_timeout_seconds")
    def _time_for_a_handler(self) -> Iterator[str]:
        if self.batch_budget_seconds < self.handler_timeout_seconds:
            yield "SLUICE_BATCH_BUDGET_SECONDS is below SLUICE_HANDLER_TIMEOUT_SECONDS"
