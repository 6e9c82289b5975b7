"""Settings of health: what the deployed release is called."""

from pydantic import Field

from shared.environment import SettingsSlice

__all__ = ["HealthSettings"]


class HealthSettings(SettingsSlice):
    """What readiness says of the app itself."""

    release: str = Field("", alias="SLUICE_RELEASE", pattern=r"^[A-Za-z0-9._+-]{0,64}$")
    """The release that was deployed: a tag, a build number or a commit; shown by health."""
    synthetic: bool = Field(False, alias="SLUICE_SYNTHETIC")
    """Whether a marked message goes the whole way once a minute."""
