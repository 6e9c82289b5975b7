"""Settings of Azure's clients: which cloud they talk to."""

from pydantic import Field

from shared.environment import Cloud, SettingsSlice

__all__ = ["AzureSettings"]


class AzureSettings(SettingsSlice):
    """Which of Azure's clouds the app is in."""

    cloud: Cloud = Field(Cloud.PUBLIC, alias="SLUICE_CLOUD")
