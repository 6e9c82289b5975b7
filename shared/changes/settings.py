"""Settings of changes of other databases: the hub that connectors write to."""

from pydantic import Field

from shared.environment import QueueName, SettingsSlice

__all__ = ["ChangeSettings"]


class ChangeSettings(SettingsSlice):
    """Where connectors write changes to."""

    change_hub: QueueName = Field("changes", alias="SLUICE_CHANGE_HUB")
    change_group: QueueName = Field("sluice", alias="SLUICE_CHANGE_GROUP")
