"""Several issuers: a token is one issuer's, its keys never verify another's, and no two clients are taken for one."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from shared.authentication import Caller, Role, SeveralIssuers, SigningKeys, TokenRules, TokenVerifier, Unauthenticated
from shared.authentication.settings import AuthenticationSettings
from shared.environment import WrongSettings

from .issuer import AUDIENCE, ISSUER, NOW, Clock, Issuer, public, rsa_key, signed
from .test_tokens import fixed_time

__all__ = ["fixed_time"]
OTHER = "https://login.partner.example/realm"


class Keys:
    """What another issuer's address answers: its key has the name of the first issuer's key."""

    def __init__(self, key: str) -> None:
        self._document = {"keys": [{**public(key), "kid": "one"}]}

    async def fetch(self, url: str) -> bytes:
        """Discovery and keys."""
        if url.endswith("openid-configuration"):
            return json.dumps({"issuer": OTHER, "jwks_uri": f"{OTHER}/keys"}).encode()
        return json.dumps(self._document).encode()


def token_of(issuer: str, key: str, **claims: Any) -> bytes:
    """A token that names the key `one`, whichever has signed it."""
    usual = {"iss": issuer, "aud": AUDIENCE, "exp": NOW + 3_600, "azp": "shop", "roles": ["producer"]}
    return jwt.encode({**usual, **claims}, rsa_key(key), algorithm="RS256", headers={"kid": "one"}).encode()


@pytest.fixture
def tokens() -> SeveralIssuers:
    """Two issuers whose keys have one name."""
    clock = Clock()
    first = SigningKeys(ISSUER, None, Issuer().fetch, clock=clock)
    other = SigningKeys(OTHER, None, Keys("other").fetch, clock=clock)
    return SeveralIssuers(
        [
            TokenVerifier(TokenRules(ISSUER, (AUDIENCE,), others=("partner",)), first, now=clock),
            TokenVerifier(TokenRules(OTHER, (AUDIENCE,), "realm.roles", "partner"), other, now=clock),
        ]
    )


async def test_each_issuer_has_its_keys_though_they_have_one_name(tokens: SeveralIssuers) -> None:
    assert (await tokens.caller(signed("one"))).client == "shop"
    theirs = token_of(OTHER, "other", roles=None, realm={"roles": ["reader", "admin"]})
    for _ in range(2):
        assert await tokens.caller(theirs) == Caller("partner:shop", frozenset({Role.READER}))
    for issuer, key in ((ISSUER, "other"), (OTHER, "one")):
        with pytest.raises(Unauthenticated, match="doesn't hold"):
            await tokens.caller(token_of(issuer, key))


async def test_a_role_counts_only_in_the_claim_of_its_issuer(tokens: SeveralIssuers) -> None:
    assert (await tokens.caller(token_of(OTHER, "other", roles=["operator"]))).roles == frozenset()
    assert (await tokens.caller(signed("one", realm={"roles": ["operator"]}))).roles == {Role.PRODUCER}
    named = token_of(OTHER, "other", **{"realm.roles": ["reader"], "realm": {"roles": ["operator"]}})
    assert (await tokens.caller(named)).roles == {Role.READER}


async def test_no_client_of_one_issuer_is_taken_for_one_of_another(tokens: SeveralIssuers) -> None:
    with pytest.raises(Unauthenticated, match="another issuer's"):
        await tokens.caller(signed("one", azp="partner:shop"))


@pytest.mark.parametrize("scopes", [{}, {"scope": "openid orders"}, {"scp": ["orders"]}, {"scp": "orders"}])
async def test_users_of_one_front_end_are_clients_of_their_own(tokens: SeveralIssuers, scopes: dict[str, Any]) -> None:
    names = [(await tokens.caller(token_of(OTHER, "other", sub=one, **scopes))).client for one in ("ann", "bob")]
    assert names == ["partner:shop/ann", "partner:shop/bob"]


@pytest.mark.parametrize("own", [{"sub": "shop"}, {"sub": "shop@clients"}, {"sub": "5", "oid": "5", "tid": "t"}, {}])
async def test_an_apps_own_token_names_the_app_alone(tokens: SeveralIssuers, own: dict[str, Any]) -> None:
    assert (await tokens.caller(token_of(OTHER, "other", scope="orders", **own))).client == "partner:shop"


async def test_the_first_issuers_callers_keep_their_names(tokens: SeveralIssuers) -> None:
    assert (await tokens.caller(signed("one", sub="ann", scope="orders"))).client == "shop"
    assert (await tokens.caller(signed("one", sub="ann", scp="orders"))).client == "shop/ann"


@pytest.mark.parametrize("issuer", ["https://evil.example", "", 5, None, ISSUER + "/", [ISSUER]])
async def test_who_is_not_trusted_is_refused(tokens: SeveralIssuers, issuer: Any) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.caller(token_of(issuer, "one") if isinstance(issuer, str) else _unsigned(issuer))
    for text in (b"", b"..", b"a.b.c", b"x" * 100_000):
        with pytest.raises(Unauthenticated):
            await tokens.caller(text)


def _unsigned(issuer: Any) -> bytes:
    from .issuer import part

    return part({"alg": "RS256", "kid": "one"}) + b"." + part({"iss": issuer}) + b".AAAA"


def listed(**changed: Any) -> str:
    """One more issuer, as the setting names it."""
    return json.dumps([{"name": "partner", "issuer": OTHER, "audiences": ["api"], **changed}])


def test_the_setting_is_read() -> None:
    found = AuthenticationSettings.load({"SLUICE_AUTH_ISSUERS": listed(roles="realm.roles")}).more_issuers
    assert [(one.name, one.issuer, one.audiences, one.roles) for one in found] == [
        ("partner", OTHER, ("api",), "realm.roles")
    ]
    assert AuthenticationSettings.load({}).more_issuers == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "nothing",
        "[" * 10_000,
        listed(audiences=[]),
        listed(audiences=[""]),
        listed(issuer="http://login.partner.example"),
        listed(name="Partner:"),
        listed(secret="x"),
        json.dumps(json.loads(listed()) * 2),
        json.dumps([*json.loads(listed()), *json.loads(listed(name="second"))]),
    ],
)
def test_a_setting_that_cannot_be_is_named(text: str) -> None:
    with pytest.raises(WrongSettings, match="SLUICE_AUTH_ISSUERS"):
        AuthenticationSettings.load({"SLUICE_AUTH_ISSUERS": text})


def test_an_issuer_is_named_once() -> None:
    both = {"SLUICE_AUTH_ISSUER": OTHER, "SLUICE_AUTH_AUDIENCE": "api", "SLUICE_AUTH_ISSUERS": listed()}
    with pytest.raises(WrongSettings, match="name it once"):
        AuthenticationSettings.load(both)
