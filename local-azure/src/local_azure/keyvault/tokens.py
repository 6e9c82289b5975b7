"""Checks bearer tokens against the issuer's public keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from local_azure.keyvault.errors import VaultError

__all__ = ["AUDIENCE", "Caller", "NoKeys", "TokenVerifier", "resource_of"]

AUDIENCE: Final = "https://vault.azure.net"
"""The resource of every vault in the public cloud."""

_FRESH_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 1.0
_LONGEST_TOKEN: Final = 16_384


def resource_of(base: str) -> str:
    """What the challenge of a vault at `base` names as its resource.

    The SDKs insist that a vault's host is a subdomain of it, lest a stranger's server collects tokens for vaults.
    They compare texts: 127.0.0.1 passes for one of 0.0.1. So clients need no option that weakens them in Azure.
    """
    scheme, _, host = base.partition("://")
    return f"{scheme}://{host.partition('.')[2]}"


class NoKeys(Exception):
    """The issuer's keys cannot be had."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed in."""

    object_id: str
    application: str


class TokenVerifier:
    """Verifies tokens; fetches keys when they are old, and when a token names an unknown one, once a second at most.

    `fetch_keys` gives a JWKS or raises `NoKeys`; `now` counts seconds.
    """

    def __init__(
        self,
        authority: str,
        issuers: tuple[str, ...],
        resource: str,
        *,
        fetch_keys: Callable[[], Awaitable[Mapping[str, Any]]],
        now: Callable[[], float],
    ) -> None:
        self._issuers = issuers
        self._audiences = (resource, AUDIENCE)
        self._fetch_keys = fetch_keys
        self._now = now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._challenge = (("WWW-Authenticate", f'Bearer authorization="{authority}", resource="{resource}"'),)

    async def verify(self, authorization: str) -> Caller:
        """Who sends this header.

        Raises
        ------
        VaultError
            401 with the challenge, or 503 if the issuer's keys cannot be had.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._refusal("AKV10000: Request is missing a Bearer or PoP token.")
        if len(token) > _LONGEST_TOKEN:
            raise self._refusal("AKV10001: The token is too long.")
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid")))
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audiences,
                issuer=self._issuers,
                options={"require": ["exp", "iss", "aud", "oid"]},
            )
        except jwt.InvalidAudienceError:
            raise self._refusal("AKV10022: Invalid audience.") from None
        except jwt.InvalidIssuerError:
            raise self._refusal("AKV10032: Invalid issuer.") from None
        except jwt.ExpiredSignatureError:
            raise self._refusal("AKV10046: The token has expired.") from None
        except (jwt.PyJWTError, UnicodeError):
            raise self._refusal("AKV10046: The token cannot be validated.") from None
        return Caller(str(claims["oid"]), str(claims.get("appid") or claims.get("azp") or ""))

    async def _key(self, kid: str) -> jwt.PyJWK:
        age = None if self._fetched_at is None else self._now() - self._fetched_at
        wanted = kid not in self._keys and (age is None or age >= _PAUSE_SECONDS)
        if wanted or age is None or age >= _FRESH_SECONDS:
            await self._refresh()
        try:
            return self._keys[kid]
        except KeyError:
            raise jwt.InvalidKeyError("unknown kid") from None

    async def _refresh(self) -> None:
        try:
            found = await self._fetch_keys()
            self._keys = {str(key.key_id): key for key in jwt.PyJWKSet.from_dict(dict(found)).keys}
        except (NoKeys, jwt.PyJWTError):
            if not self._keys:
                message = "The keys of the issuer cannot be had."
                raise VaultError(503, "ServiceUnavailable", message) from None
        self._fetched_at = self._now()

    def _refusal(self, message: str) -> VaultError:
        return VaultError(401, "Unauthorized", message, headers=self._challenge)
