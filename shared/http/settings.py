"""Settings of the API: the key that signs operation ids, the largest body, how bodies come in, and its address."""

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from shared.environment import SecretReference, SettingsSlice, contradiction, listed

from .versions import Deprecation, deprecations

__all__ = ["MIN_KEY", "HttpSettings"]

MIN_KEY = 32
"""Characters of a key that signs: 128 bits even in hexadecimal digits."""


class HttpSettings(SettingsSlice):
    """How the API answers."""

    operation_key: SecretStr = Field(alias="SLUICE_OPERATION_KEY")
    max_body_bytes: int = Field(8_388_608, alias="SLUICE_MAX_BODY_BYTES", ge=1_024, le=104_857_600)
    """The host's own limit says the same number: it holds a body of a known length before the app is asked."""
    refuse_unknown_fields: bool = Field(False, alias="SLUICE_REFUSE_UNKNOWN_FIELDS")
    http_streams: bool = Field(True, alias="SLUICE_HTTP_STREAMS")
    early_indexing: bool = Field(False, alias="PYTHON_ENABLE_INIT_INDEXING")

    shed: bool = Field(True, alias="SLUICE_SHED")
    shed_least: int = Field(8, alias="SLUICE_SHED_LEAST", ge=1, le=100_000)
    shed_most: int = Field(1_000, alias="SLUICE_SHED_MOST", ge=1, le=100_000)
    shed_lag_seconds: float = Field(0.25, alias="SLUICE_SHED_LAG_SECONDS", gt=0, le=60)
    shed_storage_seconds: float = Field(2.0, alias="SLUICE_SHED_STORAGE_SECONDS", gt=0, le=60)
    shed_backlog: int = Field(1_000, alias="SLUICE_SHED_BACKLOG", ge=1, le=1_000_000)
    cors_origins: str = Field("", alias="SLUICE_CORS_ORIGINS", max_length=4_096)
    api_deprecations: str = Field("", alias="SLUICE_API_DEPRECATIONS", max_length=4_096)

    @property
    def origins(self) -> tuple[str, ...]:
        """Whose pages may call the API from a browser."""
        return listed(self.cors_origins)

    @property
    def deprecated(self) -> dict[str, Deprecation]:
        """The versions that will be gone."""
        return deprecations(self.api_deprecations) if self.api_deprecations else {}

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str) -> str:
        for one in listed(text):
            parts = urlsplit(one)
            if one != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in ("http", "https") or "*" in one:
                raise ValueError("must be a comma list of origins like https://app.example.org, without a path or a *")
        return text

    @field_validator("api_deprecations")
    @classmethod
    def _deprecations(cls, text: str) -> str:
        if text:
            deprecations(text)
        return text

    @contradiction("shed_least", "shed_most")
    def _least_below_most(self) -> Iterator[str]:
        if self.shed_least > self.shed_most:
            yield "SLUICE_SHED_LEAST is above SLUICE_SHED_MOST"

    @property
    def can_stream(self) -> bool:
        """Whether the worker takes HTTP streams: below Python 3.13 only where it indexes the app before its start."""
        return self.early_indexing or sys.version_info >= (3, 13)

    public_url: str = Field("", alias="SLUICE_PUBLIC_URL")
    """Where callers reach the app, with the path prefix of a proxy before it; empty where they reach it directly."""

    @property
    def public_path(self) -> str:
        """The path prefix of the public address, without a slash behind it; empty if there is none."""
        return urlsplit(self.public_url).path

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url.rstrip("/"))
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        if url and not (parts.scheme in ("http", "https") and parts.hostname and plain and url.isascii()):
            raise ValueError("must be an address like https://api.example.org/prefix, without a query")
        return parts.geturl()

    @field_validator("operation_key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if SecretReference.of(key.get_secret_value()) is None and len(key.get_secret_value()) < MIN_KEY:
            raise ValueError(f"must have {MIN_KEY} characters or more, or be secret:<name>")
        return key
