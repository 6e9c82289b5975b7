"""Which tokens open the vault, and how often its issuer is asked for keys."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local_azure.identity.keys import SigningKey
from local_azure.keyvault.access import AUDIENCE, Caller, NoKeys, TokenVerifier
from local_azure.keyvault.errors import VaultError

ADDRESS = "https://127.0.0.1:5320"
NAMED = "https://vault.localhost:5320"
ISSUER = "http://127.0.0.1:5310/tenant/v2.0"


class World:
    """A verifier whose keys and time the test decides."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self.now = 0.0
        self.fetched = 0
        self.keys: list[SigningKey] | None = [SigningKey("one", key)]
        self.verifier = TokenVerifier(
            "http://127.0.0.1:5310/tenant",
            (ISSUER,),
            (ADDRESS, NAMED),
            fetch_keys=self._fetch,
            now=self._now,
        )

    def _now(self) -> float:
        return self.now

    async def _fetch(self) -> Mapping[str, Any]:
        self.fetched += 1
        if self.keys is None:
            raise NoKeys("down")
        return {"keys": [key.as_jwk() for key in self.keys]}

    async def verify(self, authorization: str, base: str = ADDRESS) -> Caller:
        return await self.verifier.verify(authorization, base)

    async def refusal(self, authorization: str, base: str = ADDRESS) -> VaultError:
        with pytest.raises(VaultError) as error:
            await self.verify(authorization, base)
        return error.value


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65_537, 2048)


@pytest.fixture
def world(key: RSAPrivateKey) -> World:
    return World(key)


def signed(key: RSAPrivateKey, kid: str = "one", **changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "oid": "me", "appid": "app", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(claims, key, "RS256", {"kid": kid})


async def test_a_good_token_says_who_it_is(world: World, key: RSAPrivateKey) -> None:
    for audience in (AUDIENCE, "https://0.0.1:5320", "https://localhost:5320"):
        assert await world.verify(signed(key, aud=audience)) == Caller("me", "app")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "api://sluice"}, "AKV10022"),
        ({"aud": None}, "AKV10046"),
        ({"iss": "http://127.0.0.1:5310/other/v2.0"}, "AKV10032"),
        ({"iss": None}, "AKV10046"),
        ({"exp": 1}, "AKV10046"),
        ({"exp": None}, "AKV10046"),
        ({"oid": None}, "AKV10046"),
        ({"nbf": 9_999_999_999}, "AKV10046"),
        ({"kid": "other"}, "AKV10046"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_challenged(
    world: World, key: RSAPrivateKey, changes: dict[str, Any], code: str
) -> None:
    error = await world.refusal(signed(key, **changes))
    assert (error.status, str(error)[:8]) == (401, code)
    assert dict(error.headers)["WWW-Authenticate"] == (
        'Bearer authorization="http://127.0.0.1:5310/tenant", resource="https://0.0.1:5320"'
    )


@pytest.mark.parametrize(
    ("base", "resource"),
    [
        (ADDRESS, "https://0.0.1:5320"),
        (NAMED, "https://localhost:5320"),
        ("https://a.stranger:5320", "https://0.0.1:5320"),
    ],
)
async def test_the_challenge_names_the_parent_of_the_address_that_was_asked(
    world: World, base: str, resource: str
) -> None:
    """A stranger's name that was pointed here isn't believed."""
    challenge = dict((await world.refusal("", base)).headers)["WWW-Authenticate"]
    assert challenge.endswith(f'resource="{resource}"')


async def test_tokens_that_are_not_signed_with_the_issuers_key_are_refused(world: World, key: RSAPrivateKey) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "oid": "me"}
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = _part({"alg": "HS256", "typ": "JWT", "kid": "one"})
    import hashlib
    import hmac

    mac = hmac.new(public, f"{header}.{_part(claims)}".encode(), hashlib.sha256).digest()
    confused = f"{header}.{_part(claims)}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    unsigned = f"{_part({'alg': 'none', 'kid': 'one'})}.{_part(claims)}."
    stranger = signed(generate_private_key(65_537, 2048)).removeprefix("Bearer ")
    for token in (confused, unsigned, stranger):
        assert (await world.refusal(f"Bearer {token}")).status == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer x", "Bearer é.è.ê", "Bearer " + "x" * 20_000]
)
async def test_what_is_no_token_is_challenged(world: World, header: str) -> None:
    assert (await world.refusal(header)).status == 401
    assert world.fetched <= 1


async def test_unknown_keys_are_looked_for_once_a_second_at_most(world: World, key: RSAPrivateKey) -> None:
    await world.verify(signed(key))
    world.now += 5
    for _ in range(50):
        await world.refusal(signed(key, kid="flood"))
    assert world.fetched == 2
    world.keys = [SigningKey("two", key)]
    world.now += 1
    await world.verify(signed(key, kid="two"))
    assert world.fetched == 3
    await world.refusal(signed(key))


async def test_an_issuer_that_is_away_hurts_only_before_its_keys_are_known(world: World, key: RSAPrivateKey) -> None:
    known, world.keys = world.keys, None
    assert (await world.refusal(signed(key))).status == 503
    world.keys = known
    world.now += 1
    await world.verify(signed(key))
    world.keys = None
    world.now += 1_000
    assert await world.verify(signed(key)) == Caller("me", "app")


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
