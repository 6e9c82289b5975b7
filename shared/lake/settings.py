"""Settings of the lake: its account, its containers, and who writes its first layer."""

from pydantic import Field, field_validator

from shared.environment import Connection, QueueName, SettingsSlice

__all__ = ["LakeSettings"]

_CONTAINER = r"^[a-z0-9](-?[a-z0-9]){2,62}$"


class LakeSettings(SettingsSlice):
    """Where the lake is. Without `Lake` there is none: no function, job or route of it is there."""

    lake: Connection | None = Field(None, alias="Lake")
    lake_container: str = Field("lake", alias="SLUICE_LAKE_CONTAINER", pattern=_CONTAINER)
    """Holds the Delta tables, as `silver/<table>`, `gold/<table>` and `quarantine/<table>`."""
    bronze_container: str = Field("bronze", alias="SLUICE_BRONZE_CONTAINER", pattern=_CONTAINER)
    """Holds the files of events, in the layout of Event Hubs Capture."""
    bronze_group: QueueName = Field("bronze", alias="SLUICE_BRONZE_GROUP")

    bronze_capture: bool = Field(False, alias="SLUICE_BRONZE_CAPTURE")
    """Event Hubs Capture writes the files of events: the app doesn't."""
    bronze_retention_days: int = Field(0, alias="SLUICE_BRONZE_RETENTION_DAYS", ge=0, le=36_500)
    """Files of older days are deleted; 0 keeps them."""

    @field_validator("lake")
    @classmethod
    def _blobs_of_the_lake(cls, connection: Connection | None) -> Connection | None:
        return None if connection is None else connection.addressed_by("blobServiceUri")
