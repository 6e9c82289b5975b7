"""Settings of rotation: the queue that brings the vault's events where its network is private."""

from pydantic import Field

from shared.environment import QueueName, SettingsSlice

__all__ = ["RotationSettings"]


class RotationSettings(SettingsSlice):
    """How the vault's events come."""

    rotation_queue: QueueName = Field("secret-events", alias="SLUICE_ROTATION_QUEUE")
