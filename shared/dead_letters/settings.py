"""Settings of dead letters: how long they are stored."""

from pydantic import Field

from shared.environment import SettingsSlice

__all__ = ["DeadLetterSettings"]


class DeadLetterSettings(SettingsSlice):
    """How dead letters are stored."""

    dead_letter_retention_days: int = Field(30, alias="SLUICE_DEAD_LETTER_RETENTION_DAYS", ge=1, le=3_650)
