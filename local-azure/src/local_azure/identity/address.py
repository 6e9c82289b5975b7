"""Where a running issuer is, and the names that everyone derives from that alone."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

__all__ = ["IdentityAddress", "object_id", "parse_identity"]

_READY = re.compile(r"^ready identity=(http://[^/\s]+) tenant=(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class IdentityAddress:
    """The base address of an issuer and its one tenant."""

    url: str
    tenant: str

    @property
    def issuer(self) -> str:
        """The `iss` of tokens of the second version, and where their discovery document is."""
        return f"{self.url}/{self.tenant}/v2.0"

    @property
    def first_issuer(self) -> str:
        """The `iss` of tokens of the first version, which managed identities get."""
        return f"{self.url}/{self.tenant}/"

    @property
    def authority(self) -> str:
        """What a service names in its challenge."""
        return f"{self.url}/{self.tenant}"

    @property
    def jwks_uri(self) -> str:
        """Where the public keys are."""
        return f"{self.url}/{self.tenant}/discovery/v2.0/keys"

    @property
    def token_url(self) -> str:
        """Where clients get tokens."""
        return f"{self.url}/{self.tenant}/oauth2/v2.0/token"

    @property
    def managed_identity_url(self) -> str:
        """What `IDENTITY_ENDPOINT` is set to."""
        return f"{self.url}/msi/token"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])


def parse_identity(printed: str) -> IdentityAddress | None:
    """The address an issuer prints when it is ready, or None before."""
    found = _READY.search(printed)
    return IdentityAddress(found[1], found[2]) if found else None


def object_id(tenant: str, client: str) -> str:
    """The `oid` of a client: the same for the same name in the same tenant."""
    return str(uuid.uuid5(uuid.UUID(tenant), client))
