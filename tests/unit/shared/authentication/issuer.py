"""An issuer in memory: it signs tokens and publishes keys, and a test decides what is wrong with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa

from shared.authentication import SigningKeys, TokenRules, TokenVerifier

ISSUER = "https://login.example.com/tenant/v2.0"
AUDIENCE = "api://sluice"
JWKS = "https://login.example.com/tenant/keys"
NOW = 1_800_000_000


@cache
def rsa_key(name: str, bits: int = 2_048) -> RSAPrivateKey:
    """The same key for the same name."""
    return generate_rsa(65_537, bits)


@cache
def ec_key(name: str) -> EllipticCurvePrivateKey:
    """The same key for the same name."""
    return generate_ec(SECP256R1())


class Issuer:
    """What the outside of an issuer looks like; counts what it is asked."""

    def __init__(self) -> None:
        self.kids = ["one"]
        self.down = False
        self.asked: list[str] = []
        self.more: list[dict[str, Any]] = []
        self.said = {"issuer": ISSUER, "jwks_uri": JWKS}

    async def fetch(self, url: str) -> bytes:
        """As the app fetches."""
        self.asked.append(url)
        if self.down:
            raise TimeoutError("nobody answers")
        if url.endswith("openid-configuration"):
            return json.dumps(self.said).encode()
        return json.dumps({"keys": [*(public(kid) for kid in self.kids), *self.more]}).encode()

    def token(self, kid: str = "one", **claims: Any) -> bytes:
        """A token that holds, but for the claims that are given; None leaves one out."""
        return signed(kid, **claims)


def public(kid: str) -> dict[str, Any]:
    """A key as a JWK Set holds it."""
    described: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(kid).public_key()))
    return {**described, "kid": kid, "use": "sig"}


def signed(kid: str, **claims: Any) -> bytes:
    """A token under the RSA key of that name."""
    usual: Mapping[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "exp": NOW + 3_600,
        "azp": "shop",
        "roles": ["producer"],
    }
    said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return jwt.encode(said, rsa_key(kid), algorithm="RS256", headers={"kid": kid}).encode()


def part(content: Any) -> bytes:
    """A header or claims by hand."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = float(NOW)

    def __call__(self) -> float:
        return self.at


def verifier(
    issuer: Issuer,
    clock: Clock,
    *,
    size: int = 100,
    distrusted: Callable[[], Awaitable[Collection[str]]] | None = None,
) -> TokenVerifier:
    """The app's side."""
    keys = SigningKeys(ISSUER, None, issuer.fetch, clock=clock)
    return TokenVerifier(TokenRules(ISSUER, (AUDIENCE, "another")), keys, distrusted=distrusted, now=clock, size=size)
