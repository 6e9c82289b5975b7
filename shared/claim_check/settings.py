"""Settings of the claim check: from which size a payload is stored as a blob, where, and for how long."""

from collections.abc import Iterator

from pydantic import Field, field_validator

from shared.environment import Connection, SettingsSlice, contradiction

__all__ = ["ClaimSettings"]


class ClaimSettings(SettingsSlice):
    """Where claims are stored."""

    claims: Connection = Field(alias="Claims")
    claim_threshold_bytes: int = Field(65_536, alias="SLUICE_CLAIM_THRESHOLD_BYTES", ge=1_024, le=196_608)
    claim_container: str = Field("claims", alias="SLUICE_CLAIM_CONTAINER", pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")
    claim_retention_days: int = Field(60, alias="SLUICE_CLAIM_RETENTION_DAYS", ge=2, le=4_000)

    upload_links: bool = Field(False, alias="SLUICE_UPLOAD_LINKS")
    """Callers can reach the storage: an upload is offered a link straight to it, beside the way through the app."""

    @contradiction("claims", "upload_links")
    def _links_need_an_identity(self) -> Iterator[str]:
        if self.upload_links and self.claims.connection_string is not None:
            yield "SLUICE_UPLOAD_LINKS needs an identity: Claims is a connection string"

    @field_validator("claims")
    @classmethod
    def _blobs(cls, connection: Connection) -> Connection:
        return connection.addressed_by("blobServiceUri")
