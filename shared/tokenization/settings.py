"""Settings of tokenization: the secrets that tokens are made with."""

from pydantic import Field, field_validator

from shared.environment import SettingsSlice, is_reference, listed

__all__ = ["TokenizationSettings"]


class TokenizationSettings(SettingsSlice):
    """What tokens are made with."""

    token_key: str = Field("", alias="SLUICE_TOKEN_KEY", max_length=4_096)

    @property
    def token_keys(self) -> tuple[str, ...]:
        """Names of the secrets that tokens are made with, the current one first."""
        return tuple(one.removeprefix("secret:") for one in listed(self.token_key))

    @field_validator("token_key")
    @classmethod
    def _token_secrets(cls, references: str) -> str:
        if not all(is_reference(one) for one in listed(references)):
            raise ValueError("must be secret:<name>, and after commas secret:<name>/<version> for earlier ones")
        return references
