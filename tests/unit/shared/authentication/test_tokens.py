"""A token holds or it doesn't: whatever a caller sends costs little and never lets the wrong one in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.authentication import Caller, CannotTell, DistrustedKeys, Role, Unauthenticated
from shared.tables import MemoryTable

from .issuer import AUDIENCE, ISSUER, NOW, Clock, Issuer, ec_key, part, public, rsa_key, signed, verifier


@pytest.fixture(autouse=True)
def fixed_time() -> Iterator[None]:
    """PyJWT reads the clock itself."""
    import datetime

    class Fixed(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Fixed:
            return cls.fromtimestamp(NOW, tz)

    with patch("jwt.api_jwt.datetime", Fixed):
        yield


@pytest.fixture
def issuer() -> Issuer:
    """An issuer with one key."""
    return Issuer()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


async def refused(token: bytes) -> str:
    """Why a token doesn't hold."""
    with pytest.raises(Unauthenticated) as caught:
        await verifier(Issuer(), Clock()).caller(token)
    return str(caught.value)


async def test_a_good_token_tells_who_calls(issuer: Issuer, clock: Clock) -> None:
    """App roles become roles; what isn't ours is left out."""
    caller = await verifier(issuer, clock).caller(issuer.token(roles=["producer", "reader", "admin"]))
    assert caller == Caller("shop", frozenset({Role.PRODUCER, Role.READER}))


@pytest.mark.parametrize(
    ("claims", "name", "roles"),
    [
        ({"azp": None, "appid": "old", "roles": ["reader"]}, "old", {Role.READER}),
        ({"scp": "reader openid", "oid": "me", "roles": None}, "shop/me", {Role.READER}),
        ({"azp": None, "sub": "service", "roles": ["operator"]}, "service", {Role.OPERATOR}),
        ({"roles": "producer"}, "shop", set()),
        ({"roles": [1, None, ["producer"]]}, "shop", set()),
        ({"aud": ["x", "another"], "roles": []}, "shop", set()),
    ],
)
async def test_claims_of_every_kind(
    issuer: Issuer, clock: Clock, claims: dict[str, Any], name: str, roles: set[Role]
) -> None:
    """Tokens of both versions, of apps and of users by an app; a claim of the wrong type gives nothing."""
    assert await verifier(issuer, clock).caller(issuer.token(**claims)) == Caller(name, frozenset(roles))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW - 61}, "expired"),
        ({"exp": None}, "hold"),
        ({"exp": "soon"}, "hold"),
        ({"nbf": NOW + 61}, "hold"),
        ({"iat": NOW + 61}, "hold"),
        ({"aud": "api://other"}, "another audience"),
        ({"aud": None}, "hold"),
        ({"iss": "https://login.example.com/other/v2.0"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"azp": None}, "whose"),
    ],
)
async def test_claims_that_do_not_hold(claims: dict[str, Any], why: str) -> None:
    """Expired, not yet valid, for somebody else, from somebody else, from nobody."""
    assert why in await refused(signed("one", **claims))


@pytest.mark.parametrize("claims", [{"exp": NOW - 59}, {"nbf": NOW + 59}])
async def test_clocks_may_differ_a_little(issuer: Issuer, clock: Clock, claims: dict[str, Any]) -> None:
    """By up to a minute."""
    assert await verifier(issuer, clock).caller(issuer.token(**claims))


async def test_no_signature_is_no_token() -> None:
    """`alg: none`, in any spelling, with or without a signature."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "azp": "shop", "roles": ["operator"]}
    for algorithm in ("none", "None", "NONE", "", None, 0, ["RS256"], "HS256", "RS512", "PS256"):
        for end in (b"", b"AA"):
            header = part({"alg": algorithm, "kid": "one"})
            assert "signed in a way" in await refused(b".".join([header, part(claims), end]))


async def test_the_public_key_is_no_shared_secret() -> None:
    """HS256 with the public key as its secret, which everybody knows."""
    pem = rsa_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    import hashlib
    import hmac

    text = b".".join([part({"alg": "HS256", "kid": "one"}), part({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60})])
    forged = text + b"." + part(hmac.digest(pem, text, hashlib.sha256))
    assert "signed in a way" in await refused(forged)


async def test_a_key_verifies_its_own_algorithm_only(issuer: Issuer, clock: Clock) -> None:
    """An elliptic key works for ES256; a token can't have it checked as RS256."""
    described = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec_key("curve").public_key()))
    issuer.more = [{**described, "kid": "curve"}]
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "azp": "shop"}
    token = jwt.encode(claims, ec_key("curve"), algorithm="ES256", headers={"kid": "curve"}).encode()
    checks = verifier(issuer, clock)
    assert (await checks.caller(token)).client == "shop"
    _, body, end = token.split(b".")
    with pytest.raises(Unauthenticated):
        await checks.caller(b".".join([part({"alg": "RS256", "kid": "curve"}), body, end]))


async def test_keys_in_the_token_are_not_looked_at(issuer: Issuer, clock: Clock) -> None:
    """`jwk`, `jku` and `x5u` name a key of the sender's choice: none is used or fetched."""
    own = {"jwk": public("own"), "jku": "https://evil.example.com/keys", "x5u": "https://evil.example.com/cert"}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "azp": "shop"}
    token = jwt.encode(claims, rsa_key("own"), algorithm="RS256", headers={"kid": "one", **own}).encode()
    with pytest.raises(Unauthenticated):
        await verifier(issuer, clock).caller(token)
    assert not [url for url in issuer.asked if "evil" in url]


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b.c",
        b"." * 10_000,
        b"\xff\xfe.\x00.\x00",
        b"A" * 20_000 + b".A.A",
        part({"alg": "RS256", "kid": "k" * 1_000_000}) + b".e30.AA",
        part({"alg": "RS256"}) + b".e30.AA",
        part({"alg": "RS256", "kid": 7}) + b".e30.AA",
        part(b'{"alg": "none", "alg": "RS256", "kid": "one"}') + b"." + part({"iss": ISSUER}) + b".AA",
        part(b"[" * 5_000) + b".e30.AA",
        part(b'{"a":' * 2_000) + b".e30.AA",
        part([]) + b".e30.AA",
        part({"alg": "RS256", "kid": "one", "crit": ["exp"]}) + b"." + part({"iss": ISSUER}) + b".AA",
        part({"alg": "RS256", "kid": "one"}) + b".bm90IGpzb24.AA",
        part({"alg": "RS256", "kid": "one"}) + b"." + part({"iss": ISSUER, "exp": 1e400}) + b".AA",
    ],
)
async def test_hostile_tokens_are_no_tokens(token: bytes) -> None:
    """A 401 each, whatever the bytes, and never another exception."""
    await refused(token)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(b".".join))
def test_no_bytes_are_a_token(token: bytes) -> None:
    """Anything at all ends as unauthenticated."""
    asyncio.run(refused(token))


@given(data=st.data())
def test_a_changed_token_does_not_hold(data: st.DataObject) -> None:
    """One character of a good token, changed for another."""
    token = bytearray(signed("one"))
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(b"ABCxyz019-_.").filter(lambda one: one != token[place]))
    token[place] = other
    if place == len(token) - 1:  # the last character of the signature carries four bits that nobody reads
        return
    asyncio.run(refused(bytes(token)))


async def test_a_known_token_is_not_checked_again(issuer: Issuer, clock: Clock) -> None:
    """Until shortly before it expires, and not for longer than a withdrawn key may go on."""
    checks, token = verifier(issuer, clock), issuer.token(exp=NOW + 100)
    caller = await checks.caller(token)
    with patch("shared.authentication.tokens.verified", side_effect=AssertionError):
        assert await checks.caller(token) == caller
        clock.at += 94
        assert checks.known(token) == ("one", caller)
        clock.at += 1
        assert checks.known(token) is None
    long = issuer.token()
    await checks.caller(long)
    clock.at = NOW + 299  # by the time at which the issuer named the key, not by that of the first token
    assert checks.known(long) is not None
    clock.at += 1
    assert checks.known(long) is None


async def test_the_memory_of_tokens_is_bounded(issuer: Issuer, clock: Clock) -> None:
    """The one that was used longest ago goes first."""
    checks = verifier(issuer, clock, size=2)
    tokens = [issuer.token(jti=str(number)) for number in range(3)]
    await checks.caller(tokens[0])
    await checks.caller(tokens[1])
    assert checks.known(tokens[0])
    await checks.caller(tokens[2])
    assert [checks.known(token) is not None for token in tokens] == [True, False, True]


async def test_a_changed_key_is_found(issuer: Issuer, clock: Clock) -> None:
    """A token under a new key makes the keys be fetched again; tokens under the old one go on."""
    checks = verifier(issuer, clock)
    await checks.caller(issuer.token())
    issuer.kids = ["one", "two"]
    clock.at += 10
    assert await checks.caller(issuer.token("two"))
    assert await checks.caller(issuer.token(jti="fresh"))
    assert len(issuer.asked) == 3  # the discovery document once, the keys twice


async def test_a_flood_of_unknown_keys_costs_a_few_fetches(issuer: Issuer, clock: Clock) -> None:
    """A burst, and one for every five seconds after that, however many come; a known key doesn't wait for any."""
    checks = verifier(issuer, clock)
    await checks.caller(issuer.token())
    clock.at += 60
    before = len(issuer.asked)

    async def strange(number: int) -> None:
        token = jwt.encode({"iss": ISSUER}, rsa_key("own"), algorithm="RS256", headers={"kid": f"k{number}"}).encode()
        with pytest.raises(Unauthenticated):
            await checks.caller(token)

    await asyncio.gather(*(strange(number) for number in range(200)))
    for number in range(200, 220):
        await strange(number)
    assert len(issuer.asked) == before + 3
    for number in range(220, 240):
        clock.at += 1
        await strange(number)
    assert await checks.caller(issuer.token(jti="known"))
    assert len(issuer.asked) == before + 7


async def test_an_issuer_that_is_down_changes_nothing_for_those_who_are_known(issuer: Issuer, clock: Clock) -> None:
    """Keys that were had once stay in use."""
    checks = verifier(issuer, clock)
    await checks.caller(issuer.token())
    issuer.down = True
    clock.at += 4_000
    assert await checks.caller(issuer.token(exp=NOW + 9_000, jti="later"))


@pytest.mark.parametrize("first", [1, 60, 119, 121, 239, 241, 299])
async def test_a_withdrawn_key_is_refused_within_five_minutes(issuer: Issuer, clock: Clock, first: int) -> None:
    """However the requests lie: one just before its keys are old, one that was remembered, or none for long."""
    checks, token = verifier(issuer, clock), issuer.token()
    await checks.caller(token)
    issuer.kids = ["two"]
    clock.at = NOW + first
    with contextlib.suppress(Unauthenticated):
        await checks.caller(token)
        await checks.caller(issuer.token(jti="another"))
        await asyncio.sleep(0)
    clock.at = NOW + 300
    for again in (token, issuer.token(jti="another"), issuer.token(jti="new")):
        with pytest.raises(Unauthenticated):
            await checks.caller(again)


async def test_a_withdrawn_key_is_refused_when_the_issuer_answers_again(issuer: Issuer, clock: Clock) -> None:
    """A failure of long ago keeps nobody from asking."""
    checks = verifier(issuer, clock)
    await checks.caller(issuer.token())
    issuer.down = True
    clock.at += 600
    assert await checks.caller(issuer.token(jti="meanwhile"))
    issuer.down, issuer.kids = False, ["two"]
    clock.at += 31
    with pytest.raises(Unauthenticated):
        await checks.caller(issuer.token(jti="meanwhile"))


async def test_known_keys_stay_valid_for_a_day_without_their_issuer(issuer: Issuer, clock: Clock) -> None:
    """And no longer; it is the issuer that is away, so the caller is told to come again."""
    checks, token = verifier(issuer, clock), issuer.token(exp=NOW + 200_000)
    await checks.caller(token)
    issuer.down = True
    clock.at = NOW + 86_399
    assert await checks.caller(token)
    clock.at += 1
    with pytest.raises(CannotTell):
        await checks.caller(token)
    issuer.down = False
    clock.at += 31
    assert await checks.caller(token)


async def test_a_key_that_an_operator_distrusts_is_refused_at_once(issuer: Issuer, clock: Clock) -> None:
    """By every instance within five seconds, also a token that was remembered; a store that is away changes nothing."""
    table = MemoryTable()
    operator = DistrustedKeys(table, now=lambda: datetime.now(UTC), clock=clock)
    seen = DistrustedKeys(table, now=lambda: datetime.now(UTC), clock=clock)
    checks, token = verifier(issuer, clock, distrusted=seen.known), issuer.token()
    await checks.caller(token)
    await operator.distrust("one", by="ada", reason="stolen")
    clock.at += 5
    for again in (token, issuer.token(jti="new")):
        with pytest.raises(Unauthenticated, match="isn't trusted any more"):
            await checks.caller(again)
    with patch.object(table, "query", side_effect=OSError("away")):
        clock.at += 5
        with pytest.raises(Unauthenticated):
            await checks.caller(token)
    assert list(await operator.all()) == ["one"]
    assert await operator.trust("one")
    assert not await operator.trust("one")
    clock.at += 5
    assert await checks.caller(token)


async def test_an_issuer_that_never_answered_is_not_the_callers_fault(issuer: Issuer, clock: Clock) -> None:
    """Not known is not refused: 503 with a time to wait; the next try after that works."""
    issuer.down = True
    checks = verifier(issuer, clock)
    with pytest.raises(CannotTell) as caught:
        await checks.caller(issuer.token())
    assert 1 <= caught.value.retry_after <= 2
    issuer.down = False
    clock.at += 2
    assert await checks.caller(issuer.token())


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://evil.example.com", "jwks_uri": "https://evil.example.com/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://login.example.com/keys"},
        {"issuer": ISSUER},
        {},
    ],
)
async def test_a_discovery_document_that_leads_elsewhere_is_not_followed(
    issuer: Issuer, clock: Clock, said: dict[str, str]
) -> None:
    """Another issuer's, without TLS, or without keys."""
    issuer.said = said
    with pytest.raises(CannotTell):
        await verifier(issuer, clock).caller(issuer.token())
    assert len(issuer.asked) == 1


async def test_weak_and_foreign_keys_are_left_out(issuer: Issuer, clock: Clock) -> None:
    """A short RSA key, one for encryption, one with another algorithm, junk."""
    short = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key("short", 1_024).public_key()))
    issuer.more = [
        {**short, "kid": "short"},
        {**public("two"), "use": "enc"},
        {**public("three"), "alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "four"},
        {"kid": "five"},
    ]
    checks = verifier(issuer, clock)
    for kid in ("two", "three"):
        with pytest.raises(Unauthenticated):
            await checks.caller(issuer.token(kid))
        clock.at += 6
    assert await checks.caller(issuer.token(exp=NOW + 100))
