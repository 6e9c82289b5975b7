"""Who asks, by a bearer token of the issuer, and what they may do: the data-plane roles of Azure RBAC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from local_azure.keyvault.errors import VaultError

__all__ = ["AUDIENCE", "ROLES", "Access", "Caller", "NoKeys", "TokenVerifier", "resource_of"]

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "Key Vault Administrator": ("secrets/*", "keys/*"),
    "Key Vault Reader": ("secrets/readMetadata", "keys/read"),
    "Key Vault Secrets Officer": ("secrets/*",),
    "Key Vault Secrets User": ("secrets/readMetadata", "secrets/getSecret"),
    "Key Vault Crypto Officer": ("keys/*",),
    "Key Vault Crypto User": (
        *("keys/read", "keys/update", "keys/backup", "keys/encrypt", "keys/decrypt"),
        *("keys/wrap", "keys/unwrap", "keys/sign", "keys/verify"),
    ),
    "Key Vault Crypto Service Encryption User": ("keys/read", "keys/wrap", "keys/unwrap"),
}
"""What each built-in role allows, of what this vault has (learn.microsoft.com: "Azure built-in roles for Security")."""


class Access:
    """Roles by object id."""

    def __init__(self) -> None:
        self._roles: dict[str, frozenset[str]] = {}

    def grant(self, object_id: str, roles: Iterable[str]) -> None:
        """Give an identity these roles and no others.

        Raises
        ------
        ValueError
            If one of them is unknown.
        """
        given = frozenset(roles)
        if unknown := sorted(given - set(ROLES)):
            raise ValueError(f"{unknown[0]} is not a role: use {', '.join(ROLES)}.")
        self._roles[object_id.lower()] = given

    def check(self, object_id: str, application: str, action: str, resource: str) -> None:
        """Let an action through, or refuse it.

        Raises
        ------
        VaultError
            403, if no role of the identity allows it.
        """
        wildcard = f"{action.partition('/')[0]}/*"
        for role in self._roles.get(object_id.lower(), frozenset()):
            if action in ROLES[role] or wildcard in ROLES[role]:
                return
        raise VaultError(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\n"
            f"Caller: appid={application};oid={object_id}\n"
            f"Action: 'Microsoft.KeyVault/vaults/{action}/action'\n"
            f"Resource: '{resource}'",
            inner="ForbiddenByRbac",
        )


AUDIENCE: Final = "https://vault.azure.net"
"""The resource of every vault in the public cloud."""

_FRESH_SECONDS: Final = 300.0
_PAUSE_SECONDS: Final = 1.0
_LONGEST_TOKEN: Final = 16_384


def resource_of(base: str) -> str:
    """What the challenge of a vault at `base` names as its resource.

    The SDKs insist that a vault's host is a subdomain of it, lest a stranger's server collects tokens for vaults.
    So clients need no option that weakens them in Azure: vault.localhost is one of localhost, and for Python's, which
    compare texts, 127.0.0.1 passes for one of 0.0.1. Others read that as the address 0.0.0.1 and refuse it.
    """
    scheme, _, host = base.partition("://")
    return f"{scheme}://{host.partition('.')[2]}"


class NoKeys(Exception):
    """The issuer's keys cannot be had."""


class _Refusal(Exception):
    """The token does not open the vault; the message says why."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed in."""

    object_id: str
    application: str


class TokenVerifier:
    """Verifies tokens; fetches keys when they are old, and when a token names an unknown one, once a second at most.

    `bases` are the vault's own addresses. `fetch_keys` gives a JWKS or raises `NoKeys`; `now` counts seconds.
    """

    def __init__(
        self,
        authority: str,
        issuers: tuple[str, ...],
        bases: tuple[str, ...],
        *,
        fetch_keys: Callable[[], Awaitable[Mapping[str, Any]]],
        now: Callable[[], float],
    ) -> None:
        self._issuers = issuers
        self._resources = {base: resource_of(base) for base in bases}
        self._audiences = (*self._resources.values(), AUDIENCE)
        self._fetch_keys = fetch_keys
        self._now = now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._authority = authority

    async def verify(self, authorization: str, base: str) -> Caller:
        """Who sends this header to the vault at `base`.

        Raises
        ------
        VaultError
            401 with the challenge, or 503 if the issuer's keys cannot be had.
        """
        try:
            return await self._read(authorization)
        except _Refusal as refusal:
            raise VaultError(401, "Unauthorized", str(refusal), headers=self._challenge(base)) from None

    async def _read(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Refusal("AKV10000: Request is missing a Bearer or PoP token.")
        if len(token) > _LONGEST_TOKEN:
            raise _Refusal("AKV10001: The token is too long.")
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
            raise _Refusal("AKV10022: Invalid audience.") from None
        except jwt.InvalidIssuerError:
            raise _Refusal("AKV10032: Invalid issuer.") from None
        except jwt.ExpiredSignatureError:
            raise _Refusal("AKV10046: The token has expired.") from None
        except (jwt.PyJWTError, UnicodeError):
            raise _Refusal("AKV10046: The token cannot be validated.") from None
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

    def _challenge(self, base: str) -> tuple[tuple[str, str], ...]:
        resource = self._resources.get(base) or next(iter(self._resources.values()), AUDIENCE)
        return (("WWW-Authenticate", f'Bearer authorization="{self._authority}", resource="{resource}"'),)
