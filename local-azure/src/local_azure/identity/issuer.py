"""What the issuer answers: discovery, keys, tokens for clients and for the managed identity. No I/O.

The shapes are those of Entra ID's v2.0 endpoints and of the App Service managed identity endpoint
(learn.microsoft.com: "OAuth 2.0 client credentials flow", "How to use managed identities for App Service").
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from local_azure.identity.client import IdentityAddress, object_id
from local_azure.identity.keys import KeyRing
from local_azure.identity.registration import Registration

__all__ = ["Answer", "Asked", "Issuer"]

_LIFETIME: Final = 3_600
_MANAGED_LIFETIME: Final = 86_400
_LONGEST_LIFETIME: Final = 86_400
_OVERLAP: Final = 86_400.0
_API_VERSION: Final = "2019-08-01"
_MOST_ROLES: Final = 32
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Names of headers are in lower case; `form` holds the fields of the body."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, in JSON."""

    status: int
    content: Mapping[str, Any]
    cacheable: bool = False


class _Refused(Exception):
    """A request that gets an error."""

    def __init__(self, status: int, content: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.answer = Answer(status, content)


class Issuer:
    """Answers requests; `now` gives seconds since the epoch, `roles` are those of a client that names none."""

    def __init__(
        self,
        address: IdentityAddress,
        registration: Registration,
        keys: KeyRing,
        now: Callable[[], float],
        *,
        roles: Sequence[str] = (),
    ) -> None:
        self._address = address
        self._registration = registration
        self._keys = keys
        self._now = now
        self._usual_roles = tuple(roles)

    def answer(self, asked: Asked) -> Answer:
        """Answer one request; whatever it holds, there is an answer."""
        try:
            return self._route(asked)
        except _Refused as refused:
            return refused.answer

    def _route(self, asked: Asked) -> Answer:
        match asked.method, asked.path.strip("/").split("/"):
            case "GET", ["health"]:
                return Answer(200, {"status": "healthy"})
            case "GET", ["msi", "token"]:
                return self._managed_identity(asked)
            case "POST", ["admin", "rotate"]:
                return self._rotate(asked)
            case "GET", [tenant, "v2.0", ".well-known", "openid-configuration"]:
                self._check_tenant(tenant)
                return Answer(200, self._discovery(), cacheable=True)
            case "GET", [tenant, "discovery", "v2.0", "keys"]:
                self._check_tenant(tenant)
                return Answer(200, {"keys": self._keys.published(self._now())}, cacheable=True)
            case "POST", [tenant, "oauth2", "v2.0", "token"]:
                self._check_tenant(tenant)
                return self._client_token(asked.form)
        return Answer(404, {"error": "not_found", "error_description": "There is nothing here."})

    def _discovery(self) -> dict[str, Any]:
        address = self._address
        return {
            "issuer": address.issuer,
            "token_endpoint": address.token_url,
            "jwks_uri": address.jwks_uri,
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": [],
            "claims_supported": ["iss", "aud", "exp", "nbf", "iat", "oid", "azp", "appid", "roles", "tid", "ver"],
        }

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._registration.tenant:
            raise self._oauth_error(400, "invalid_request", 90002, "The tenant is not known here.")

    # -- clients -----------------------------------------------------------------------------------
    def _client_token(self, form: Mapping[str, str]) -> Answer:
        if form.get("grant_type") != "client_credentials":
            raise self._oauth_error(400, "unsupported_grant_type", 70003, "Only client_credentials is supported.")
        client = form.get("client_id", "")
        if not 0 < len(client) <= _LONGEST_NAME:
            raise self._oauth_error(400, "invalid_request", 900144, "client_id is missing or too long.")
        if not _same(form.get("client_secret", ""), self._registration.client_secret):
            raise self._oauth_error(401, "invalid_client", 7000215, "The client secret is wrong.")
        resource, separator, rest = form.get("scope", "").rpartition("/.default")
        if not resource or not separator or rest:
            raise self._oauth_error(400, "invalid_scope", 1002012, "scope must be a resource followed by /.default.")
        lifetime = self._lifetime(form.get("lifetime", str(_LIFETIME)))
        claims = {"iss": self._address.issuer, "azp": client, "ver": "2.0", "roles": self._roles(form)}
        token = self._sign(claims, client=client, audience=resource, lifetime=lifetime)
        return Answer(200, {"token_type": "Bearer", "expires_in": lifetime, "access_token": token})

    def _roles(self, form: Mapping[str, str]) -> list[str]:
        """The roles asked for, or the usual ones: Entra would look them up in the app's assignments."""
        given = form.get("roles")
        roles = list(self._usual_roles) if given is None else [role for role in given.split(",") if role]
        if len(roles) > _MOST_ROLES or any(len(role) > _LONGEST_NAME for role in roles):
            raise self._oauth_error(400, "invalid_request", 900144, "There are too many roles.")
        return roles

    def _lifetime(self, text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= _LONGEST_LIFETIME or len(text) > 5:
            message = f"lifetime must be from 1 to {_LONGEST_LIFETIME} seconds."
            raise self._oauth_error(400, "invalid_request", 900144, message)
        return int(text)

    def _oauth_error(self, status: int, code: str, number: int, message: str) -> _Refused:
        content = {
            "error": code,
            "error_description": f"AADSTS{number}: {message}",
            "error_codes": [number],
            "correlation_id": str(uuid.uuid4()),
        }
        return _Refused(status, content)

    # -- the managed identity ----------------------------------------------------------------------
    def _managed_identity(self, asked: Asked) -> Answer:
        registration = self._registration
        if not _same(asked.headers.get("x-identity-header", ""), registration.identity_header):
            raise _managed_error(401, "The header X-IDENTITY-HEADER is missing or wrong.")
        if asked.query.get("api-version") != _API_VERSION:
            raise _managed_error(400, f"api-version must be {_API_VERSION}.")
        resource = asked.query.get("resource", "").removesuffix("/.default")
        if not 0 < len(resource) <= _LONGEST_NAME:
            raise _managed_error(400, "resource is missing or too long.")
        client = asked.query.get("client_id") or registration.client_id
        if client.lower() != registration.client_id:
            raise _managed_error(400, "No managed identity with this client_id is assigned.")
        claims = {"iss": self._address.first_issuer, "appid": client, "ver": "1.0", "idtyp": "app"}
        token = self._sign(claims, client=client, audience=resource, lifetime=_MANAGED_LIFETIME)
        return Answer(
            200,
            {
                "access_token": token,
                "expires_on": str(int(self._now()) + _MANAGED_LIFETIME),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client,
            },
        )

    def _sign(self, claims: dict[str, Any], *, client: str, audience: str, lifetime: int) -> str:
        now = int(self._now())
        identity = object_id(self._registration.tenant, client)
        standard = {"aud": audience, "iat": now, "nbf": now, "exp": now + lifetime, "tid": self._registration.tenant}
        key = self._keys.current
        return jwt.encode(
            {**claims, **standard, "oid": identity, "sub": identity, "uti": uuid.uuid4().hex},
            key.private,
            algorithm="RS256",
            headers={"kid": key.kid},
        )

    # -- administration ----------------------------------------------------------------------------
    def _rotate(self, asked: Asked) -> Answer:
        scheme, _, secret = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not _same(secret, self._registration.client_secret):
            raise _managed_error(401, "The client secret of the issuer is needed.")
        try:
            overlap = float(asked.form.get("overlap", _OVERLAP))
        except ValueError:
            overlap = -1.0
        if not 0 <= overlap <= 10 * _OVERLAP:
            raise _managed_error(400, f"overlap must be from 0 to {10 * _OVERLAP:.0f} seconds.")
        key = self._keys.rotate(self._now(), overlap)
        return Answer(200, {"kid": key.kid, "published": len(self._keys.published(self._now()))})


def _managed_error(status: int, message: str) -> _Refused:
    return _Refused(status, {"statusCode": status, "message": message})


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8"))
