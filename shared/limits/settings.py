"""Settings of limits: the plans, where the instances share them, and among how many they are divided without it."""

from pydantic import Field, SecretStr, field_validator

from shared.environment import SecretReference, SettingsSlice

from .plans import Plans

__all__ = ["LimitSettings"]


class LimitSettings(SettingsSlice):
    """How often a client may call."""

    rate_plans: str = Field("", alias="SLUICE_RATE_PLANS", max_length=262_144)
    rate_store: SecretStr | None = Field(None, alias="SLUICE_RATE_STORE")
    rate_instances: int = Field(10, alias="SLUICE_RATE_INSTANCES", ge=1, le=1_000)

    usage_retention_days: int = Field(400, alias="SLUICE_USAGE_RETENTION_DAYS", ge=32, le=3_660)

    @property
    def plans(self) -> Plans | None:
        """The plans; None where nobody is limited."""
        return Plans.parse(self.rate_plans) if self.rate_plans else None

    @field_validator("rate_plans")
    @classmethod
    def _plans(cls, text: str) -> str:
        if text:
            Plans.parse(text)
        return text

    @field_validator("rate_store")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        text = "" if url is None else url.get_secret_value()
        local = ("redis://127.0.0.1", "redis://localhost")
        if text and SecretReference.of(text) is None and not text.startswith(("rediss://", *local)):
            raise ValueError("must be a Redis address like rediss://host:port/0, or secret:<name>")
        return url
