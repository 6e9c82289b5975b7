"""A running issuer from outside: where it is, the names that follow from that alone, and tokens from it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from local_azure.identity.registration import Registration

__all__ = ["IdentityAddress", "IdentityError", "fetch_token", "object_id", "parse_identity", "rotate_keys"]

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


_SECONDS = 10.0


class IdentityError(Exception):
    """The issuer does not answer, or refuses; the message says which."""


def fetch_token(
    address: IdentityAddress,
    registration: Registration,
    *,
    audience: str,
    roles: Sequence[str],
    client: str = "developer",
    lifetime: int = 3_600,
) -> str:
    """A bearer token for `client`, valid for `lifetime` seconds. Blocks for as long as the issuer takes.

    Raises
    ------
    IdentityError
        If there is no token.
    """
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": registration.client_secret,
        "scope": f"{audience}/.default",
        "roles": ",".join(roles),
        "lifetime": str(lifetime),
    }
    token = _post(address.token_url, form, {}).get("access_token")
    if not isinstance(token, str):
        raise IdentityError(f"{address.token_url} answered without a token.")
    return token


def rotate_keys(address: IdentityAddress, registration: Registration, *, overlap: float = 86_400.0) -> str:
    """Have the issuer sign with a new key, and publish the old ones for `overlap` seconds more; the new key's id.

    Raises
    ------
    IdentityError
        If it did not.
    """
    headers = {"Authorization": f"Bearer {registration.client_secret}"}
    return str(_post(f"{address.url}/admin/rotate", {"overlap": str(overlap)}, headers)["kid"])


def _post(url: str, form: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, urlencode(form).encode(), headers)  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of this machine
    try:
        with direct.open(request, timeout=_SECONDS) as answer:
            content = json.load(answer)
    except urllib.error.HTTPError as error:
        raise IdentityError(f"{url} refused with {error.code}: {_reason(error)}") from None
    except (OSError, ValueError) as error:
        raise IdentityError(f"{url} does not answer ({getattr(error, 'reason', error)}).") from None
    if not isinstance(content, dict):
        raise IdentityError(f"{url} answered with something else than an object.")
    return content


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        content = json.loads(error.read(4_096))
        return str(content.get("error_description") or content.get("message"))
    except (OSError, ValueError, AttributeError):
        return "no reason given"
