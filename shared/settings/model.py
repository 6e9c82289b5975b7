"""Every setting that the app reads, in one model that is checked when the app starts."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .clouds import Cloud
from .connections import Connection, VaultConnection
from .references import SecretReference, is_secret_name

__all__ = ["MIN_KEY", "Settings", "WrongSettings"]

QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9./_-]{0,258}[A-Za-z0-9])?$")]

KeyReference = Annotated[str, Field(pattern=r"^(key|secret):[0-9A-Za-z-]{1,127}$")]
Issuer = Annotated[
    str, Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1)[:/])[\x21-\x7e]{1,500}$", max_length=512)
]
"""An address of an OpenID issuer; without TLS on this machine only."""
_LANES = ("high", "normal", "low", "ordered")
_CONNECTIONS = ("ServiceBus", "EventHubs", "State", "Claims")
_KEY_VAULT = "KeyVault"
_ADDRESSES = {
    "service_bus": "fullyQualifiedNamespace",
    "event_hubs": "fullyQualifiedNamespace",
    "state": "tableServiceUri",
    "claims": "blobServiceUri",
}


MIN_KEY = 32
"""Characters of a key that signs: 128 bits even in hexadecimal digits."""


class WrongSettings(ValueError):
    """One or more settings are missing or wrong; the message names every one of them."""


class Settings(BaseModel):
    """The app's settings. Attribute names are ours, aliases are the environment's."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    service_bus: Connection = Field(alias="ServiceBus")
    event_hubs: Connection = Field(alias="EventHubs")
    state: Connection = Field(alias="State")
    claims: Connection = Field(alias="Claims")
    key_vault: VaultConnection | None = Field(None, alias="KeyVault")

    lane_high: QueueName = Field("lane-high", alias="SLUICE_LANE_HIGH")
    lane_normal: QueueName = Field("lane-normal", alias="SLUICE_LANE_NORMAL")
    lane_low: QueueName = Field("lane-low", alias="SLUICE_LANE_LOW")
    lane_ordered: QueueName = Field("lane-ordered", alias="SLUICE_LANE_ORDERED")
    event_hub: QueueName = Field("events", alias="SLUICE_EVENT_HUB")
    event_source: Annotated[str, Field(min_length=1, max_length=256)] = Field("/sluice", alias="SLUICE_EVENT_SOURCE")

    operation_key: SecretStr = Field(alias="SLUICE_OPERATION_KEY")
    state_buckets: int = Field(64, alias="SLUICE_STATE_BUCKETS", ge=1, le=4096)
    claim_threshold_bytes: int = Field(65_536, alias="SLUICE_CLAIM_THRESHOLD_BYTES", ge=1_024, le=196_608)
    claim_container: str = Field("claims", alias="SLUICE_CLAIM_CONTAINER", pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")
    claim_retention_days: int = Field(60, alias="SLUICE_CLAIM_RETENTION_DAYS", ge=2, le=4_000)
    inbox_retention_days: int = Field(60, alias="SLUICE_INBOX_RETENTION_DAYS", ge=2, le=4_000)
    queue_ttl_days: int = Field(14, alias="SLUICE_QUEUE_TTL_DAYS", ge=1, le=365)
    max_body_bytes: int = Field(104_857_600, alias="SLUICE_MAX_BODY_BYTES", ge=1_024, le=104_857_600)

    handler_timeout_seconds: float = Field(20.0, alias="SLUICE_HANDLER_TIMEOUT_SECONDS", gt=0, le=240)
    batch_budget_seconds: float = Field(22.0, alias="SLUICE_BATCH_BUDGET_SECONDS", gt=0, le=270)
    handler_concurrency: int = Field(32, alias="SLUICE_HANDLER_CONCURRENCY", ge=1, le=1_000)
    retry_max_attempts: int = Field(5, alias="SLUICE_RETRY_MAX_ATTEMPTS", ge=1, le=100)
    retry_base_seconds: float = Field(2.0, alias="SLUICE_RETRY_BASE_SECONDS", gt=0, le=3_600)
    retry_cap_seconds: float = Field(300.0, alias="SLUICE_RETRY_CAP_SECONDS", gt=0, le=86_400)
    retry_budget_share: float = Field(0.2, alias="SLUICE_RETRY_BUDGET_SHARE", ge=0, le=10)
    send_timeout_seconds: float = Field(15.0, alias="SLUICE_SEND_TIMEOUT_SECONDS", gt=0, le=120)
    dead_letter_retention_days: int = Field(30, alias="SLUICE_DEAD_LETTER_RETENTION_DAYS", ge=1, le=3_650)

    secret_ttl_seconds: float = Field(300.0, alias="SLUICE_SECRET_TTL_SECONDS", ge=1, le=86_400)
    secret_stale_seconds: float = Field(86_400.0, alias="SLUICE_SECRET_STALE_SECONDS", ge=1, le=604_800)
    secret_timeout_seconds: float = Field(5.0, alias="SLUICE_SECRET_TIMEOUT_SECONDS", gt=0, le=60)
    secret_overlap_seconds: float = Field(604_800.0, alias="SLUICE_SECRET_OVERLAP_SECONDS", ge=1, le=31_536_000)
    secret_reads_per_10_seconds: int = Field(100, alias="SLUICE_SECRET_READS_PER_10_SECONDS", ge=1, le=4_000)
    secret_preload: str = Field("", alias="SLUICE_SECRET_PRELOAD", max_length=32_768)
    rotation_queue: QueueName = Field("secret-events", alias="SLUICE_ROTATION_QUEUE")

    data_key: KeyReference | None = Field(None, alias="SLUICE_DATA_KEY")
    token_key: str = Field("", alias="SLUICE_TOKEN_KEY", max_length=4_096)
    encrypted_lane_names: str = Field("", alias="SLUICE_ENCRYPTED_LANES", max_length=64)
    encrypt_claims: bool | None = Field(None, alias="SLUICE_ENCRYPT_CLAIMS")
    encryption_required: bool = Field(False, alias="SLUICE_SEALING_REQUIRED")

    auth: Literal["required", "none"] = Field("required", alias="SLUICE_AUTH")
    auth_issuer: Issuer | None = Field(None, alias="SLUICE_AUTH_ISSUER")
    auth_audience: str = Field("", alias="SLUICE_AUTH_AUDIENCE", max_length=1_024)
    auth_jwks_uri: Issuer | None = Field(None, alias="SLUICE_AUTH_JWKS_URI")
    api_keys: SecretStr | None = Field(None, alias="SLUICE_API_KEYS")
    cloud: Cloud = Field(Cloud.PUBLIC, alias="SLUICE_CLOUD")

    http_streams: bool = Field(True, alias="SLUICE_HTTP_STREAMS")
    log_format: Literal["platform", "json"] = Field("platform", alias="SLUICE_LOG_FORMAT")
    app_insights: SecretStr | None = Field(None, alias="APPLICATIONINSIGHTS_CONNECTION_STRING")
    telemetry: Literal["auto", "none", "azure-monitor", "console"] = Field("auto", alias="SLUICE_TELEMETRY")

    @field_validator(*_ADDRESSES)
    @classmethod
    def _of_its_kind(cls, connection: Connection, info: ValidationInfo) -> Connection:
        wanted = _ADDRESSES[info.field_name or ""]
        if others := sorted(set(connection.address_parts) - {wanted}):
            raise ValueError(f"set its address with __{wanted}, not with __{others[0]}")
        return connection

    @field_validator("operation_key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if SecretReference.of(key.get_secret_value()) is None and len(key.get_secret_value()) < MIN_KEY:
            raise ValueError(f"must have {MIN_KEY} characters or more, or be secret:<name>")
        return key

    @field_validator("app_insights")
    @classmethod
    def _needed_at_start(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and SecretReference.of(value.get_secret_value()) is not None:
            raise ValueError("is needed before the vault can be read; use the platform's @Microsoft.KeyVault(...)")
        return value

    @field_validator("secret_preload")
    @classmethod
    def _secret_names(cls, names: str) -> str:
        if not all(is_secret_name(name) for name in _listed(names)):
            raise ValueError("must list names of secrets, separated by commas")
        return names

    @field_validator("encrypted_lane_names")
    @classmethod
    def _lane_names(cls, names: str) -> str:
        if others := sorted(set(_listed(names)) - set(_LANES)):
            raise ValueError(f"names {', '.join(others)[:64]}; lanes are {', '.join(_LANES)}")
        return names

    @field_validator("token_key")
    @classmethod
    def _token_secrets(cls, references: str) -> str:
        if not all(_is_reference(one) for one in _listed(references)):
            raise ValueError("must be secret:<name>, and after commas secret:<name>/<version> for earlier ones")
        return references

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom callers' tokens may be for."""
        return _listed(self.auth_audience)

    @model_validator(mode="after")
    def _audience_of_issuer(self) -> Self:
        if self.auth_issuer is not None and not self.audiences:
            raise ValueError("SLUICE_AUTH_ISSUER needs SLUICE_AUTH_AUDIENCE: a token for anybody isn't taken")
        return self

    @property
    def encrypted_lanes(self) -> tuple[str, ...]:
        """Lanes whose messages are encrypted."""
        return _listed(self.encrypted_lane_names)

    @property
    def encrypts_claims(self) -> bool:
        """Claims are encrypted: as set, else where any lane is."""
        return bool(self.encrypted_lanes) if self.encrypt_claims is None else self.encrypt_claims

    @property
    def token_keys(self) -> tuple[str, ...]:
        """Names of the secrets that tokens are made with, the current one first."""
        return tuple(one.removeprefix("secret:") for one in _listed(self.token_key))

    @model_validator(mode="after")
    def _keys_for_encryption(self) -> Self:
        if self.data_key is None and (self.encrypted_lanes or self.encrypt_claims or self.token_key):
            raise ValueError("SLUICE_ENCRYPTED_LANES, SLUICE_ENCRYPT_CLAIMS and SLUICE_TOKEN_KEY need SLUICE_DATA_KEY")
        if self.data_key is not None and self.key_vault is None:
            raise ValueError("SLUICE_DATA_KEY names a key or a secret: KeyVault__vaultUri is missing")
        if self.encryption_required and (set(self.encrypted_lanes) != set(_LANES) or not self.encrypts_claims):
            raise ValueError(
                "SLUICE_SEALING_REQUIRED needs all four lanes in SLUICE_ENCRYPTED_LANES, and encrypted claims"
            )
        return self

    @property
    def preloaded_secrets(self) -> tuple[str, ...]:
        """Names of the secrets to read before they are needed."""
        return _listed(self.secret_preload)

    @model_validator(mode="after")
    def _vault_for_references(self) -> Self:
        if self.key_vault is None:
            for name, field in type(self).model_fields.items():
                value = getattr(self, name)
                if isinstance(value, SecretStr) and SecretReference.of(value.get_secret_value()) is not None:
                    raise ValueError(f"{field.alias} names a secret: KeyVault__vaultUri is missing")
            if self.secret_preload:
                raise ValueError("SLUICE_SECRET_PRELOAD names secrets: KeyVault__vaultUri is missing")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.retry_cap_seconds < self.retry_base_seconds:
            raise ValueError("SLUICE_RETRY_CAP_SECONDS is below SLUICE_RETRY_BASE_SECONDS")
        if self.batch_budget_seconds < self.handler_timeout_seconds:
            raise ValueError("SLUICE_BATCH_BUDGET_SECONDS is below SLUICE_HANDLER_TIMEOUT_SECONDS")
        if self.inbox_retention_days < self.queue_ttl_days + self.dead_letter_retention_days:
            raise ValueError(
                "SLUICE_INBOX_RETENTION_DAYS is below SLUICE_QUEUE_TTL_DAYS + SLUICE_DEAD_LETTER_RETENTION_DAYS: "
                "a late delivery or a replay would be taken for a new message"
            )
        if self.claim_retention_days < self.queue_ttl_days + self.dead_letter_retention_days:
            raise ValueError(
                "SLUICE_CLAIM_RETENTION_DAYS is below SLUICE_QUEUE_TTL_DAYS plus SLUICE_DEAD_LETTER_RETENTION_DAYS: "
                "payloads would be gone before their messages"
            )
        if len({self.lane_high, self.lane_normal, self.lane_low, self.lane_ordered}) < 4:
            raise ValueError(
                "SLUICE_LANE_HIGH, SLUICE_LANE_NORMAL, SLUICE_LANE_LOW and SLUICE_LANE_ORDERED must name four queues"
            )
        if self.secret_stale_seconds < self.secret_ttl_seconds:
            raise ValueError("SLUICE_SECRET_STALE_SECONDS is below SLUICE_SECRET_TTL_SECONDS")
        if self.telemetry == "azure-monitor" and self.app_insights is None:
            raise ValueError("SLUICE_TELEMETRY=azure-monitor needs APPLICATIONINSIGHTS_CONNECTION_STRING")
        return self

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read and check the settings of an environment (the process's own by default).

        Raises
        ------
        WrongSettings
            Names every missing or wrong setting at once, by its environment variable, never with its value.
        """
        variables = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for field in cls.model_fields.values():
            name = field.alias or ""
            if name in _CONNECTIONS:
                values[name] = _connection(name, variables)
            elif name == _KEY_VAULT:
                if vault := _connection(name, variables):
                    values[name] = vault
            elif variables.get(name, "") != "":
                values[name] = variables[name]
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise WrongSettings(_explain(error)) from None


def _is_reference(text: str) -> bool:
    try:
        return SecretReference.of(text) is not None
    except ValueError:
        return False


def _listed(names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _connection(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{name}__"
    parts = {key[len(prefix) :]: value for key, value in variables.items() if key.startswith(prefix) and value}
    if variables.get(name):
        parts["connectionString"] = variables[name]
    return parts


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = "__".join(str(part) for part in item["loc"])
        message = str(item["msg"]).removeprefix("Value error, ")
        lines.append(f"{name}: {'is missing' if item['type'] == 'missing' else message}" if name else message)
    return "Wrong settings: " + "; ".join(sorted(lines))
