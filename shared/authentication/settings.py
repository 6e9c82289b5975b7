"""Settings of authentication: whether and how callers are known."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from shared.environment import SettingsSlice, contradiction, listed

__all__ = ["AuthenticationSettings"]

Issuer = Annotated[
    str, Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])[\x21-\x7e]{1,500}$", max_length=512)
]
"""An address of an OpenID issuer; without TLS on this machine only."""


class AuthenticationSettings(SettingsSlice):
    """Who may call."""

    auth: Literal["required", "none"] = Field("required", alias="SLUICE_AUTH")
    auth_issuer: Issuer | None = Field(None, alias="SLUICE_AUTH_ISSUER")
    auth_audience: str = Field("", alias="SLUICE_AUTH_AUDIENCE", max_length=1_024)
    auth_jwks_uri: Issuer | None = Field(None, alias="SLUICE_AUTH_JWKS_URI")
    auth_keys_kept_seconds: int = Field(86_400, alias="SLUICE_AUTH_KEYS_KEPT_SECONDS", ge=300, le=604_800)
    api_keys: SecretStr | None = Field(None, alias="SLUICE_API_KEYS")

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom callers' tokens may be for."""
        return listed(self.auth_audience)

    @contradiction("auth_issuer", "auth_audience")
    def _audience_of_issuer(self) -> Iterator[str]:
        if self.auth_issuer is not None and not self.audiences:
            yield "SLUICE_AUTH_ISSUER needs SLUICE_AUTH_AUDIENCE: a token for anybody isn't accepted"
