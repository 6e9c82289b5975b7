"""Settings of secrets: the key vault, and how long what was read from it is used."""

from collections.abc import Iterator

from pydantic import Field, SecretStr, field_validator

from shared.environment import SecretReference, SettingsSlice, VaultConnection, contradiction, is_secret_name, listed

__all__ = ["SecretSettings"]


class SecretSettings(SettingsSlice):
    """Where secrets are, and how they are cached."""

    key_vault: VaultConnection | None = Field(None, alias="KeyVault")
    secret_ttl_seconds: float = Field(300.0, alias="SLUICE_SECRET_TTL_SECONDS", ge=1, le=86_400)
    secret_stale_seconds: float = Field(86_400.0, alias="SLUICE_SECRET_STALE_SECONDS", ge=1, le=604_800)
    secret_timeout_seconds: float = Field(5.0, alias="SLUICE_SECRET_TIMEOUT_SECONDS", gt=0, le=60)
    secret_overlap_seconds: float = Field(604_800.0, alias="SLUICE_SECRET_OVERLAP_SECONDS", ge=1, le=31_536_000)
    secret_reads_per_10_seconds: int = Field(100, alias="SLUICE_SECRET_READS_PER_10_SECONDS", ge=1, le=4_000)
    secret_preload: str = Field("", alias="SLUICE_SECRET_PRELOAD", max_length=32_768)

    @property
    def preloaded_secrets(self) -> tuple[str, ...]:
        """Names of the secrets to read before they are needed."""
        return listed(self.secret_preload)

    @field_validator("secret_preload")
    @classmethod
    def _secret_names(cls, names: str) -> str:
        if not all(is_secret_name(name) for name in listed(names)):
            raise ValueError("must list names of secrets, separated by commas")
        return names

    @contradiction("secret_stale_seconds", "secret_ttl_seconds")
    def _usable_for_its_time_to_live(self) -> Iterator[str]:
        if self.secret_stale_seconds < self.secret_ttl_seconds:
            yield "SLUICE_SECRET_STALE_SECONDS is below SLUICE_SECRET_TTL_SECONDS"

    @contradiction("key_vault")
    def _vault_for_references(self) -> Iterator[str]:
        """Of the slices that it is composed with, too."""
        if self.key_vault is not None:
            return
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, SecretStr) and SecretReference.of(value.get_secret_value()) is not None:
                yield f"{field.alias} names a secret: KeyVault__vaultUri is missing"
        if self.secret_preload:
            yield "SLUICE_SECRET_PRELOAD names secrets: KeyVault__vaultUri is missing"
