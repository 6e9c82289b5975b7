"""Settings of authentication: whether and how callers are known."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from shared.environment import SettingsSlice, contradiction, listed

__all__ = ["AuthenticationSettings", "TrustedIssuer"]

Issuer = Annotated[
    str, Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])[\x21-\x7e]{1,500}$", max_length=512)
]
"""An address of an OpenID issuer; without TLS on this machine only."""


class TrustedIssuer(BaseModel):
    """One more issuer whose tokens are taken.

    Attributes
    ----------
    name:
        Stands before the names of its clients, with a colon.
    roles:
        The claim of its tokens that holds roles; dots lead into objects.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,29}$")
    issuer: Issuer
    audiences: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(min_length=1, max_length=20)
    roles: str = Field("roles", min_length=1, max_length=256)
    jwks: Issuer | None = None


_ISSUERS = TypeAdapter(Annotated[list[TrustedIssuer], Field(max_length=10)])


class AuthenticationSettings(SettingsSlice):
    """Who may call."""

    auth: Literal["required", "none"] = Field("required", alias="SLUICE_AUTH")
    auth_issuer: Issuer | None = Field(None, alias="SLUICE_AUTH_ISSUER")
    auth_audience: str = Field("", alias="SLUICE_AUTH_AUDIENCE", max_length=1_024)
    auth_jwks_uri: Issuer | None = Field(None, alias="SLUICE_AUTH_JWKS_URI")
    auth_issuers: str = Field("", alias="SLUICE_AUTH_ISSUERS", max_length=32_768)
    auth_keys_kept_seconds: int = Field(86_400, alias="SLUICE_AUTH_KEYS_KEPT_SECONDS", ge=300, le=604_800)
    api_keys: SecretStr | None = Field(None, alias="SLUICE_API_KEYS")

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom callers' tokens may be for."""
        return listed(self.auth_audience)

    @property
    def more_issuers(self) -> list[TrustedIssuer]:
        """The issuers beside the first."""
        return _ISSUERS.validate_json(self.auth_issuers) if self.auth_issuers else []

    @field_validator("auth_issuers")
    @classmethod
    def _issuers(cls, text: str) -> str:
        try:
            found = _ISSUERS.validate_json(text) if text else []
        except ValidationError as wrong:
            places = {".".join(str(part) for part in one["loc"]) or "the list" for one in wrong.errors()}
            raise ValueError(
                "must be a JSON list of objects with name, issuer and audiences, perhaps roles and jwks; wrong: "
                + ", ".join(sorted(places))[:300]
            ) from None
        for what in ("name", "issuer"):
            given = [getattr(one, what) for one in found]
            if len(set(given)) < len(given):
                raise ValueError(f"names one {what} twice")
        return text

    @contradiction("auth_issuer", "auth_issuers")
    def _issuer_once(self) -> Iterator[str]:
        if self.auth_issuer in [one.issuer for one in self.more_issuers]:
            yield "SLUICE_AUTH_ISSUER is one of SLUICE_AUTH_ISSUERS too: name it once"

    @contradiction("auth_issuer", "auth_audience")
    def _audience_of_issuer(self) -> Iterator[str]:
        if self.auth_issuer is not None and not self.audiences:
            yield "SLUICE_AUTH_ISSUER needs SLUICE_AUTH_AUDIENCE: a token for anybody isn't accepted"
