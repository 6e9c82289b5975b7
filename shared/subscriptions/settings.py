"""Settings of webhooks out: their queue and consumer group, whom they may reach, and how long they are kept."""

from collections.abc import Iterator

from pydantic import Field

from shared.environment import QueueName, SettingsSlice, contradiction, is_secret_name, listed

from .addresses import AddressPolicy

__all__ = ["SubscriptionSettings"]


class SubscriptionSettings(SettingsSlice):
    """How webhooks are sent."""

    webhook_queue: QueueName = Field("webhook-deliveries", alias="SLUICE_WEBHOOK_QUEUE")
    webhook_group: QueueName = Field("webhooks", alias="SLUICE_WEBHOOK_GROUP")
    webhook_timeout_seconds: float = Field(15.0, alias="SLUICE_WEBHOOK_TIMEOUT_SECONDS", gt=0, le=30)
    webhook_payload_bytes: int = Field(65_536, alias="SLUICE_WEBHOOK_PAYLOAD_BYTES", ge=1_024, le=262_144)
    webhook_retention_days: int = Field(30, alias="SLUICE_WEBHOOK_RETENTION_DAYS", ge=6, le=365)
    webhook_secret_overlap_seconds: int = Field(
        86_400, alias="SLUICE_WEBHOOK_SECRET_OVERLAP_SECONDS", ge=0, le=2_592_000
    )
    webhook_allow_local: bool = Field(False, alias="SLUICE_WEBHOOK_ALLOW_LOCAL")
    webhook_refused_networks: str = Field("", alias="SLUICE_WEBHOOK_REFUSED_NETWORKS")
    webhook_certificate: str = Field("", alias="SLUICE_WEBHOOK_CERTIFICATE")
    """The vault's name of the certificate that receivers may ask for."""

    def webhook_addresses(self) -> AddressPolicy:
        """Whom webhooks may reach."""
        return AddressPolicy.of(local=self.webhook_allow_local, networks=listed(self.webhook_refused_networks))

    @contradiction("webhook_certificate")
    def _certificate(self) -> Iterator[str]:
        if self.webhook_certificate and not is_secret_name(self.webhook_certificate):
            yield "SLUICE_WEBHOOK_CERTIFICATE: a certificate is named by letters, digits and hyphens, as in the vault"

    @contradiction("webhook_refused_networks")
    def _networks(self) -> Iterator[str]:
        try:
            self.webhook_addresses()
        except ValueError as error:
            yield f"SLUICE_WEBHOOK_REFUSED_NETWORKS: {error}"
