"""The app's settings: the slices that packages own, and what contradicts between them."""

from collections.abc import Iterator

from shared.authentication.settings import AuthenticationSettings
from shared.azure_clients.settings import AzureSettings
from shared.claim_check.settings import ClaimSettings
from shared.datasets.settings import DatasetSettings
from shared.dead_letters.settings import DeadLetterSettings
from shared.encryption.settings import EncryptionSettings
from shared.environment import SecretReference, contradiction
from shared.health.settings import HealthSettings
from shared.http.settings import HttpSettings
from shared.jobs.settings import JobSettings
from shared.lake.settings import LakeSettings
from shared.limits.settings import LimitSettings
from shared.notifications.settings import NotificationSettings
from shared.partners.settings import PartnerSettings
from shared.postgresql.settings import CaptureSettings
from shared.processing.settings import ProcessingSettings
from shared.query.settings import ReadingSettings
from shared.rotation.settings import RotationSettings
from shared.secrets.settings import SecretSettings
from shared.sending.settings import SendingSettings
from shared.sharing.settings import SharingSettings
from shared.state.settings import StateSettings
from shared.subscriptions.settings import SubscriptionSettings
from shared.telemetry.settings import TelemetrySettings
from shared.tokenization.settings import TokenizationSettings

__all__ = ["Settings"]


class Settings(
    SendingSettings,
    StateSettings,
    ClaimSettings,
    LakeSettings,
    DatasetSettings,
    HttpSettings,
    LimitSettings,
    ReadingSettings,
    ProcessingSettings,
    PartnerSettings,
    NotificationSettings,
    DeadLetterSettings,
    SecretSettings,
    RotationSettings,
    JobSettings,
    EncryptionSettings,
    TokenizationSettings,
    AuthenticationSettings,
    AzureSettings,
    TelemetrySettings,
    HealthSettings,
    SubscriptionSettings,
    SharingSettings,
    CaptureSettings,
):
    """All settings in one model; `load` names everything that is wrong with them at once."""

    @contradiction("inbox_retention_days", "queue_ttl_days", "dead_letter_retention_days")
    def _inbox_outlives_messages(self) -> Iterator[str]:
        if self.inbox_retention_days < self.queue_ttl_days + self.dead_letter_retention_days:
            yield (
                "SLUICE_INBOX_RETENTION_DAYS is below SLUICE_QUEUE_TTL_DAYS + SLUICE_DEAD_LETTER_RETENTION_DAYS: "
                "a late delivery or a replay would be taken for a new message"
            )

    @contradiction("claim_retention_days", "queue_ttl_days", "dead_letter_retention_days")
    def _claims_outlive_messages(self) -> Iterator[str]:
        if self.claim_retention_days < self.queue_ttl_days + self.dead_letter_retention_days:
            yield (
                "SLUICE_CLAIM_RETENTION_DAYS is below SLUICE_QUEUE_TTL_DAYS plus SLUICE_DEAD_LETTER_RETENTION_DAYS: "
                "payloads would be gone before their messages"
            )

    @contradiction("data_key", "token_key")
    def _key_for_tokenized_fields(self) -> Iterator[str]:
        if self.token_key and self.data_key is None:
            yield "SLUICE_TOKEN_KEY needs SLUICE_DATA_KEY"

    @contradiction("datasets", "lake")
    def _lake_of_datasets(self) -> Iterator[str]:
        if self.datasets and self.lake is None:
            yield "SLUICE_DATASETS needs a lake: Lake is missing"

    @contradiction("rate_store", "key_vault")
    def _vault_for_rate_store(self) -> Iterator[str]:
        secret = None if self.rate_store is None else SecretReference.of(self.rate_store.get_secret_value())
        if secret is not None and self.key_vault is None:
            yield "SLUICE_RATE_STORE names a secret: KeyVault__vaultUri is missing"

    @contradiction("shares_text", "lake")
    def _lake_for_shares(self) -> Iterator[str]:
        if self.shares and self.lake is None:
            yield "SLUICE_SHARES needs Lake: what is shared are its tables"

    @contradiction("data_key", "key_vault")
    def _vault_for_keys(self) -> Iterator[str]:
        if self.data_key is not None and self.key_vault is None:
            yield "SLUICE_DATA_KEY names a key or a secret: KeyVault__vaultUri is missing"
