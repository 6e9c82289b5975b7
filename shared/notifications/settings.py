"""Settings of notifications: where they go, and with what."""

import re

from pydantic import Field, SecretStr, field_validator

from shared.environment import QueueName, SecretReference, SettingsSlice

__all__ = ["NotificationSettings"]

_ENDPOINT = re.compile(r"https://[^\s?#@]+|http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s?#@]*)?")


class NotificationSettings(SettingsSlice):
    """A topic's endpoint, `https://<topic>.<region>-1.eventgrid.azure.net/api/events`; empty for none."""

    notification_url: str = Field("", alias="SLUICE_NOTIFICATION_URL", max_length=512)
    notification_key: SecretStr | None = Field(None, alias="SLUICE_NOTIFICATION_KEY")
    notification_group: QueueName = Field("notifications", alias="SLUICE_NOTIFICATION_GROUP")

    @property
    def notification_secret(self) -> SecretReference | None:
        """The secret with the topic's key; None where the app's identity publishes."""
        key = self.notification_key
        return None if key is None else SecretReference.of(key.get_secret_value())

    @field_validator("notification_url")
    @classmethod
    def _endpoint(cls, url: str) -> str:
        if url and not _ENDPOINT.fullmatch(url):
            raise ValueError("must be a topic's endpoint: https://… without query or user")
        return url

    @field_validator("notification_key")
    @classmethod
    def _reference(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and SecretReference.of(key.get_secret_value()) is None:
            raise ValueError("must name a secret of the key vault: secret:<name>")
        return key
