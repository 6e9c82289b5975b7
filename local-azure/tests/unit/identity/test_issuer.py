"""What the issuer answers, request by request, with a clock that is passed in."""

from __future__ import annotations

import uuid
from typing import Any

import jwt
import pytest

from local_azure.identity import IdentityAddress, Registration, object_id
from local_azure.identity.issuer import Answer, Asked, Issuer
from local_azure.identity.keys import KeyRing, SigningKey, make_signing_key

AUDIENCE = "api://orders"
TENANT = str(uuid.UUID(int=1))
MANAGED = str(uuid.UUID(int=2))
REGISTRATION = Registration(TENANT, MANAGED, client_secret="of-clients", identity_header="of-the-host")
ADDRESS = IdentityAddress("http://127.0.0.1:5310", TENANT)
NOW = 1_800_000_000.0


class World:
    """An issuer whose time stands still until a test moves it; its keys are made before the tests."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self.now = NOW
        self.kept: list[str] = []
        self._fresh = iter(keys)
        self.ring = KeyRing([], make=lambda: next(self._fresh), keep=self.kept.append)
        self.issuer = Issuer(ADDRESS, REGISTRATION, self.ring, lambda: self.now, roles=("reader", "writer"))

    def token(self, **changes: str) -> Answer:
        """Ask the token endpoint."""
        form = {
            "grant_type": "client_credentials",
            "client_id": "shop",
            "client_secret": "of-clients",
            "scope": f"{AUDIENCE}/.default",
        }
        return self.issuer.answer(Asked("POST", f"/{TENANT}/oauth2/v2.0/token", form={**form, **changes}))

    def managed(self, header: str = "of-the-host", **changes: str) -> Answer:
        """Ask the managed identity endpoint."""
        query = {"api-version": "2019-08-01", "resource": "https://vault.azure.net", **changes}
        return self.issuer.answer(Asked("GET", "/msi/token", query=query, headers={"x-identity-header": header}))

    def rotate(self, secret: str = "of-clients", **form: str) -> Answer:
        """Ask for a new key."""
        headers = {"authorization": f"Bearer {secret}"}
        return self.issuer.answer(Asked("POST", "/admin/rotate", headers=headers, form=form))

    def published(self) -> list[str]:
        """The ids of the public keys."""
        answer = self.issuer.answer(Asked("GET", f"/{TENANT}/discovery/v2.0/keys"))
        return [key["kid"] for key in answer.content["keys"]]

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a token, its signature checked with the published key it names."""
        answer = self.issuer.answer(Asked("GET", f"/{TENANT}/discovery/v2.0/keys"))
        key = jwt.PyJWKSet.from_dict(dict(answer.content))[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(
            token,
            key,
            ["RS256"],
            options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )


@pytest.fixture(scope="module")
def keys() -> list[SigningKey]:
    """Making keys takes long, so all tests use the same ones."""
    return [make_signing_key() for _ in range(3)]


@pytest.fixture
def world(keys: list[SigningKey]) -> World:
    return World(keys)


def test_discovery_leads_to_the_keys_and_the_token_endpoint(world: World) -> None:
    answer = world.issuer.answer(Asked("GET", f"/{TENANT}/v2.0/.well-known/openid-configuration"))
    assert answer.status == 200
    assert answer.content["issuer"] == ADDRESS.issuer
    assert answer.content["jwks_uri"] == ADDRESS.jwks_uri
    assert answer.content["token_endpoint"] == ADDRESS.token_url


def test_a_client_gets_a_token_with_the_roles_it_asked_for(world: World) -> None:
    answer = world.token(roles="reader,operator")
    claims = world.read(answer.content["access_token"])
    assert answer.content["expires_in"] == 3_600
    assert claims.pop("uti")
    assert claims == {
        "iss": ADDRESS.issuer,
        "aud": AUDIENCE,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3_600,
        "oid": object_id(TENANT, "shop"),
        "sub": object_id(TENANT, "shop"),
        "azp": "shop",
        "roles": ["reader", "operator"],
        "tid": TENANT,
        "ver": "2.0",
    }


def test_roles_are_the_usual_ones_or_none_where_nothing_or_an_empty_list_is_asked_for(world: World) -> None:
    assert world.read(world.token().content["access_token"])["roles"] == ["reader", "writer"]
    assert world.read(world.token(roles="").content["access_token"])["roles"] == []


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"client_secret": "guessed"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_secret": "\udc80é"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": AUDIENCE}, 400, "invalid_scope"),
        ({"scope": "/.default"}, 400, "invalid_scope"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_id": "x" * 257}, 400, "invalid_request"),
        ({"lifetime": "0"}, 400, "invalid_request"),
        ({"lifetime": "86401"}, 400, "invalid_request"),
        ({"lifetime": "9" * 5_000}, 400, "invalid_request"),
        ({"lifetime": "²"}, 400, "invalid_request"),
        ({"roles": ",".join(map(str, range(40)))}, 400, "invalid_request"),
    ],
)
def test_a_wrong_request_for_a_token_is_refused_in_the_shape_of_oauth(
    world: World, changes: dict[str, str], status: int, code: str
) -> None:
    answer = world.token(**changes)
    assert (answer.status, answer.content["error"]) == (status, code)
    assert "of-clients" not in str(answer.content)


def test_another_tenant_is_not_known(world: World) -> None:
    answer = world.issuer.answer(Asked("GET", f"/{uuid.UUID(int=9)}/discovery/v2.0/keys"))
    assert (answer.status, answer.content["error_codes"]) == (400, [90002])


def test_the_managed_identity_gets_a_token_for_a_resource(world: World) -> None:
    answer = world.managed(client_id=MANAGED)
    claims = world.read(answer.content["access_token"])
    assert answer.content["resource"] == "https://vault.azure.net"
    assert int(answer.content["expires_on"]) == claims["exp"] == NOW + 86_400
    assert (claims["iss"], claims["ver"], claims["appid"]) == (ADDRESS.first_issuer, "1.0", MANAGED)
    assert claims["aud"] == "https://vault.azure.net"
    assert claims["oid"] == object_id(TENANT, MANAGED)
    assert "roles" not in claims
    assert world.read(world.managed().content["access_token"])["oid"] == claims["oid"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"header": ""}, 401),
        ({"header": "guessed"}, 401),
        ({"api-version": "2017-09-01"}, 400),
        ({"resource": ""}, 400),
        ({"client_id": str(uuid.UUID(int=3))}, 400),
    ],
)
def test_a_wrong_request_of_a_managed_identity_is_refused(world: World, changes: dict[str, str], status: int) -> None:
    answer = world.managed(**changes)
    assert answer.status == status
    assert "access_token" not in answer.content
    assert "of-the-host" not in str(answer.content)


def test_a_new_key_signs_at_once_and_the_old_one_stays_published_for_the_overlap(world: World) -> None:
    before = world.token().content["access_token"]
    old = world.ring.current.kid
    assert world.rotate(overlap="60").status == 200
    new = world.ring.current.kid
    assert world.published() == [new, old]
    assert jwt.get_unverified_header(world.token().content["access_token"])["kid"] == new
    world.read(before)
    world.now += 60
    assert world.published() == [new]


def test_a_second_rotation_keeps_no_key_longer_than_the_first_said(world: World) -> None:
    first = world.ring.current.kid
    world.rotate(overlap="10")
    world.rotate(overlap="1000")
    world.now += 11
    assert first not in world.published()
    assert len(world.published()) == 2


def test_without_overlap_the_old_key_is_gone_at_once(world: World) -> None:
    world.rotate(overlap="0")
    assert world.published() == [world.ring.current.kid]


@pytest.mark.parametrize(
    ("form", "secret", "status"),
    [
        ({}, "guessed", 401),
        ({"overlap": "-1"}, "of-clients", 400),
        ({"overlap": "nan"}, "of-clients", 400),
        ({"overlap": "soon"}, "of-clients", 400),
    ],
)
def test_a_rotation_needs_the_secret_and_a_sane_overlap(
    world: World, form: dict[str, str], secret: str, status: int
) -> None:
    before = world.ring.current.kid
    assert world.rotate(secret, **form).status == status
    assert world.ring.current.kid == before


def test_keys_are_kept_before_they_are_used_and_read_back_as_they_were(world: World, keys: list[SigningKey]) -> None:
    world.rotate(overlap="60")
    again = KeyRing.from_text(world.kept[-1], make=lambda: keys[2], keep=world.kept.append)
    assert again.published(NOW) == world.ring.published(NOW)
    assert again.current.kid == world.ring.current.kid


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"kid": "k"}]', '[{"kid": "k", "pem": "p", "retiresAt": null}]'])
def test_a_broken_file_of_keys_is_refused(text: str, keys: list[SigningKey]) -> None:
    with pytest.raises(ValueError, match=r"key|JSON|Expecting|PEM"):
        KeyRing.from_text(text, make=lambda: keys[0], keep=lambda _: None)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/msi/token"), ("GET", f"/{TENANT}/oauth2/v2.0/token"), ("PUT", "//")]
)
def test_what_is_not_there_is_not_found(world: World, method: str, path: str) -> None:
    assert world.issuer.answer(Asked(method, path)).status == 404
