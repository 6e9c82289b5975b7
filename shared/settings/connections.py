"""A connection as the platform spells it: one connection string, or an address to reach by identity."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel

__all__ = ["Connection"]

Address = Annotated[str, Field(min_length=3, max_length=4096)]


class Connection(BaseModel):
    """How one service is reached.

    `NAME` holds a connection string (only the local stack uses one). In Azure the address comes from
    `NAME__fullyQualifiedNamespace`, `NAME__blobServiceUri` or `NAME__tableServiceUri`, and the identity from
    `NAME__credential=managedidentity` with `NAME__clientId`. Commas separate several storage accounts.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    connection_string: SecretStr | None = None
    fully_qualified_namespace: Address | None = None
    blob_service_uri: Address | None = None
    table_service_uri: Address | None = None
    credential: Literal["managedidentity"] | None = None
    client_id: str | None = None

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
