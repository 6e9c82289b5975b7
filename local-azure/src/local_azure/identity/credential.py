"""Signs in to services of this machine as a client of the local issuer, for the SDKs."""

from __future__ import annotations

import time
from typing import Any, Final

from azure.core.credentials import AccessToken

from local_azure.identity.client import IdentityAddress, fetch_token
from local_azure.identity.registration import Registration

__all__ = ["DeveloperCredential"]

_LIFETIME: Final = 3_600


class DeveloperCredential:
    """The developer's own tokens, as `az login` would give them, from the local issuer."""

    def __init__(self, address: IdentityAddress, registration: Registration, client: str = "developer") -> None:
        self._address = address
        self._registration = registration
        self._client = client

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the resource of the scope."""
        audience = scopes[0].removesuffix("/.default")
        token = fetch_token(
            self._address, self._registration, client=self._client, roles=(), audience=audience, lifetime=_LIFETIME
        )
        return AccessToken(token, int(time.time()) + _LIFETIME)
