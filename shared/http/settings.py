"""Settings of the API: the key that signs operation ids, the largest body, and how bodies come in."""

from pydantic import Field, SecretStr, field_validator

from shared.environment import SecretReference, SettingsSlice

__all__ = ["MIN_KEY", "HttpSettings"]

MIN_KEY = 32
"""Characters of a key that signs: 128 bits even in hexadecimal digits."""


class HttpSettings(SettingsSlice):
    """How the API answers."""

    operation_key: SecretStr = Field(alias="SLUICE_OPERATION_KEY")
    max_body_bytes: int = Field(104_857_600, alias="SLUICE_MAX_BODY_BYTES", ge=1_024, le=104_857_600)
    http_streams: bool = Field(True, alias="SLUICE_HTTP_STREAMS")

    @field_validator("operation_key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if SecretReference.of(key.get_secret_value()) is None and len(key.get_secret_value()) < MIN_KEY:
            raise ValueError(f"must have {MIN_KEY} characters or more, or be secret:<name>")
        return key
