"""Settings of state: its accounts and buckets, and how long the inbox remembers a message."""

from pydantic import Field, field_validator

from shared.environment import Connection, SettingsSlice

__all__ = ["StateSettings"]


class StateSettings(SettingsSlice):
    """Where state is stored."""

    state: Connection = Field(alias="State")
    state_buckets: int = Field(64, alias="SLUICE_STATE_BUCKETS", ge=1, le=4096)
    inbox_retention_days: int = Field(60, alias="SLUICE_INBOX_RETENTION_DAYS", ge=2, le=4_000)

    @field_validator("state")
    @classmethod
    def _tables(cls, connection: Connection) -> Connection:
        return connection.addressed_by("tableServiceUri")
