"""The issuer as its users reach it: PyJWT's key client, and azure-identity unmodified."""

from __future__ import annotations

import stat
import urllib.error
import urllib.request
from pathlib import Path

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential

from local_azure.identity import IdentityError, object_id
from local_azure.testing.processes import IssuerProcess, issuer_process

AUDIENCE = "api://orders"
VAULT = "https://vault.azure.net"


@pytest.fixture
def hosted(issuer: IssuerProcess, monkeypatch: pytest.MonkeyPatch) -> IssuerProcess:
    """This process has the environment of a functions host."""
    for name, value in issuer.environment.items():
        monkeypatch.setenv(name, value)
    return issuer


def claims_of(issuer: IssuerProcess, token: str, audience: str) -> dict[str, object]:
    """The claims, checked as any service would."""
    key = jwt.PyJWKClient(issuer.address.jwks_uri).get_signing_key_from_jwt(token)
    found = jwt.decode(token, key, ["RS256"], audience=audience)
    assert isinstance(found, dict)
    return found


def test_a_client_token_checks_out_with_the_published_keys(issuer: IssuerProcess) -> None:
    claims = claims_of(issuer, issuer.token(audience=AUDIENCE, client="shop", roles=("reader",)), AUDIENCE)
    assert claims["iss"] == issuer.address.issuer
    assert (claims["azp"], claims["roles"]) == ("shop", ["reader"])


def test_no_web_page_has_a_key_rotated(issuer: IssuerProcess) -> None:
    """Not from another site, and not by a name of its own that was pointed here."""
    for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        asked = urllib.request.Request(f"{issuer.address.url}/admin/rotate", b"", foreign, method="POST")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked, timeout=5)
        assert caught.value.code == 403


def test_the_sync_sdk_gets_the_managed_identitys_token(hosted: IssuerProcess) -> None:
    with ManagedIdentityCredential(client_id=hosted.registration.client_id) as credential:
        claims = claims_of(hosted, credential.get_token(f"{VAULT}/.default").token, VAULT)
    assert claims["oid"] == object_id(hosted.address.tenant, hosted.registration.client_id)


async def test_the_async_sdk_gets_the_same_identity_with_and_without_its_client_id(hosted: IssuerProcess) -> None:
    found = set()
    for client_id in (None, hosted.registration.client_id):
        async with AsyncManagedIdentityCredential(client_id=client_id) as credential:
            token = await credential.get_token(f"{VAULT}/.default")
        found.add(claims_of(hosted, token.token, VAULT)["oid"])
    assert found == {object_id(hosted.address.tenant, hosted.registration.client_id)}


async def test_a_wrong_header_gets_no_token(hosted: IssuerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "guessed")
    async with AsyncManagedIdentityCredential() as credential:
        with pytest.raises(ClientAuthenticationError):
            await credential.get_token(f"{VAULT}/.default")
    with ManagedIdentityCredential() as other, pytest.raises(CredentialUnavailableError):
        other.get_token(f"{VAULT}/.default")


def test_tokens_of_before_a_restart_and_a_rotation_still_check_out(tmp_path: Path) -> None:
    with issuer_process(tmp_path) as first:
        token = first.token(audience=AUDIENCE)
        port = first.address.port
    with issuer_process(tmp_path, port=port) as second:
        assert second.rotate() != jwt.get_unverified_header(token)["kid"]
        claims_of(second, token, AUDIENCE)
        claims_of(second, second.token(audience=AUDIENCE), AUDIENCE)
        second.rotate(overlap=0)
        with pytest.raises(jwt.PyJWKClientError):
            claims_of(second, token, AUDIENCE)
    for file in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_refusal_says_why_without_the_secret(issuer: IssuerProcess) -> None:
    with pytest.raises(IdentityError, match="refused with 400: AADSTS900144: lifetime") as refused:
        issuer.token(audience=AUDIENCE, lifetime=0)
    assert issuer.registration.client_secret not in str(refused.value) + repr(issuer)
