"""Settings of sharing: what is shared, and how long a link to a file lives."""

from pydantic import Field, field_validator

from shared.environment import SettingsSlice

from .shares import Shares

__all__ = ["SharingSettings"]


class SharingSettings(SettingsSlice):
    """What of the lake is shared with recipients; without any share there are no routes."""

    shares_text: str = Field("", alias="SLUICE_SHARES", max_length=65_536)
    share_link_seconds: int = Field(3_600, alias="SLUICE_SHARE_LINK_SECONDS", ge=60, le=43_200)

    @property
    def shares(self) -> Shares:
        """Everything that is shared."""
        return Shares.parse(self.shares_text)

    @field_validator("shares_text")
    @classmethod
    def _shares(cls, text: str) -> str:
        Shares.parse(text)
        return text
