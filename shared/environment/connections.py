"""What a setting says of Azure: a connection by one string or by identity, a secret by its name, and the cloud."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.alias_generators import to_camel

__all__ = ["Cloud", "Connection", "Identity", "SecretReference", "VaultConnection", "is_reference", "is_secret_name"]


class Cloud(StrEnum):
    """One of Azure's clouds (Microsoft Entra authentication and national clouds)."""

    PUBLIC = "public"
    USGOV = "usgov"
    CHINA = "china"

    @property
    def authority(self) -> str:
        """Host of the cloud's Entra ID, which is asked for tokens."""
        return _AUTHORITIES[self]


_AUTHORITIES = {
    Cloud.PUBLIC: "login.microsoftonline.com",
    Cloud.USGOV: "login.microsoftonline.us",
    Cloud.CHINA: "login.chinacloudapi.cn",
}


PREFIX = "secret:"
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_VERSION = re.compile(r"[0-9A-Za-z]{1,64}")


def is_secret_name(text: str) -> bool:
    """Whether Key Vault takes this as the name of a secret: 1 to 127 letters, digits and hyphens, in ASCII."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by its name; with a version, always that one.

    Raises
    ------
    ValueError
        The name or the version isn't one that Key Vault takes; the message doesn't repeat the text, which may be a
        secret set by mistake.
    """

    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        if not is_secret_name(self.name):
            raise ValueError("a secret's name has 1 to 127 letters, digits and hyphens")
        if self.version is not None and _VERSION.fullmatch(self.version) is None:
            raise ValueError("a secret's version has 1 to 64 letters and digits")

    @classmethod
    def of(cls, setting: str) -> "SecretReference | None":
        """The reference that a setting holds; None where it holds the value itself."""
        if not setting.startswith(PREFIX):
            return None
        name, slash, version = setting.removeprefix(PREFIX).partition("/")
        return cls(name, version if slash else None)


def is_reference(setting: str) -> bool:
    """Whether a setting names a secret, rightly."""
    try:
        return SecretReference.of(setting) is not None
    except ValueError:
        return False


Address = Annotated[str, Field(min_length=3, max_length=4096)]


class Identity(BaseModel):
    """Who the app is to a service: `NAME__credential=managedidentity` with `NAME__clientId`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    credential: Literal["managedidentity"] | None = None
    client_id: str | None = None


class Connection(Identity):
    """How one service is reached.

    `NAME` holds a connection string (only the local stack uses one). In Azure the address comes from
    `NAME__fullyQualifiedNamespace`, `NAME__blobServiceUri` or `NAME__tableServiceUri`, and the identity from
    `NAME__credential=managedidentity` with `NAME__clientId`. Commas separate several storage accounts.
    """

    connection_string: SecretStr | None = None
    fully_qualified_namespace: Address | None = None
    blob_service_uri: Address | None = None
    table_service_uri: Address | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.connection_string is not None:
            if "=" not in self.connection_string.get_secret_value():
                raise ValueError("is not a connection string")
            if self.address is not None:
                raise ValueError("has both a connection string and an address; keep one")
        elif self.address is None:
            raise ValueError(
                "is missing; set a connection string, or the address with __fullyQualifiedNamespace, "
                "__blobServiceUri or __tableServiceUri"
            )
        return self

    def addressed_by(self, part: str) -> Self:
        """The connection itself, unless its address is one of another kind of service: then ValueError."""
        if others := sorted(set(self.address_parts) - {part}):
            raise ValueError(f"set its address with __{part}, not with __{others[0]}")
        return self

    @property
    def address(self) -> str | None:
        """The host or URI to reach by identity; None with a connection string."""
        return self.fully_qualified_namespace or self.blob_service_uri or self.table_service_uri

    @property
    def address_parts(self) -> tuple[str, ...]:
        """Names of the address settings in use, as the platform spells them."""
        parts = {
            "fullyQualifiedNamespace": self.fully_qualified_namespace,
            "blobServiceUri": self.blob_service_uri,
            "tableServiceUri": self.table_service_uri,
        }
        return tuple(name for name, value in parts.items() if value is not None)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Each connection string or address: more than one where state is spread over accounts."""
        whole = self.connection_string.get_secret_value() if self.connection_string else self.address or ""
        return tuple(part.strip() for part in whole.split(",") if part.strip())


class VaultConnection(Identity):
    """A Key Vault, and optionally a second one in another region that is asked while the first can't answer.

    Both are reached by the same identity, over HTTPS only.
    """

    vault_uri: Address
    fallback_vault_uri: Address | None = None

    @field_validator("vault_uri", "fallback_vault_uri")
    @classmethod
    def _https(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        parts = urlsplit(uri)
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query or "@" in uri:
            raise ValueError("must be https://<host>, without a path")
        return uri.rstrip("/")

    @model_validator(mode="after")
    def _two_vaults(self) -> Self:
        if self.fallback_vault_uri == self.vault_uri:
            raise ValueError("has the same vault as vaultUri and fallbackVaultUri")
        return self

    @property
    def vaults(self) -> tuple[str, ...]:
        """The vaults' addresses, in the order in which they are asked."""
        return tuple(uri for uri in (self.vault_uri, self.fallback_vault_uri) if uri is not None)
