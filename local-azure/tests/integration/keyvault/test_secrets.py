"""Secrets through the SDKs: versions, states, pages, deletion, and who may."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient

from integration.keyvault.conftest import client_options, developer
from integration.keyvault.seeds import SECRETS
from local_azure.identity import object_id
from local_azure.testing.processes import VaultProcess

SEEDS = set(SECRETS)


async def test_the_app_reads_and_writes_by_managed_identity(app_secrets: AsyncSecretClient) -> None:
    first = await app_secrets.set_secret("rotated", "one", tags={"tier": "gold"}, content_type="text/plain")
    second = await app_secrets.set_secret("rotated", "two")
    latest = await app_secrets.get_secret("rotated")
    assert (latest.value, latest.properties.version) == ("two", second.properties.version)
    old = await app_secrets.get_secret("rotated", first.properties.version)
    assert (old.value, old.properties.tags, old.properties.content_type) == ("one", {"tier": "gold"}, "text/plain")
    versions = {each.version async for each in app_secrets.list_properties_of_secret_versions("rotated")}
    assert versions == {first.properties.version, second.properties.version}


async def test_a_new_vault_holds_seeds_that_nobody_knew(app_secrets: AsyncSecretClient) -> None:
    values = {name: (await app_secrets.get_secret(name)).value or "" for name in SEEDS}
    assert json.loads(values.pop("api-keys")) == []
    assert len(set(values.values())) == len(values)
    assert all(len(value) == 43 for value in values.values())


def test_attributes_come_back_as_they_were_set(secrets: SecretClient) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    start = end - timedelta(days=2)
    secrets.set_secret("dated", "v", expires_on=end, not_before=start)
    found = secrets.update_secret_properties("dated", tags={"a": "b"}, content_type="x")
    assert (found.expires_on, found.not_before, found.tags, found.content_type) == (end, start, {"a": "b"}, "x")
    assert secrets.get_secret("dated").value == "v"


def test_an_expired_secret_can_still_be_read(secrets: SecretClient) -> None:
    past = datetime.now(UTC) - timedelta(seconds=5)
    secrets.set_secret("expired", "v", expires_on=past)
    found = secrets.get_secret("expired")
    assert found.value == "v"
    assert found.properties.expires_on is not None
    assert found.properties.expires_on < datetime.now(UTC)


def test_a_disabled_version_is_forbidden_until_it_is_enabled(secrets: SecretClient) -> None:
    secrets.set_secret("switched", "hunter2")
    secrets.update_secret_properties("switched", enabled=False)
    with pytest.raises(HttpResponseError) as error:
        secrets.get_secret("switched")
    assert error.value.status_code == 403
    assert error.value.error is not None
    assert error.value.error.innererror == {"code": "SecretDisabled"}
    assert "hunter2" not in str(error.value)
    secrets.update_secret_properties("switched", enabled=True)
    assert secrets.get_secret("switched").value == "hunter2"


def test_sixty_secrets_come_in_pages(secrets: SecretClient) -> None:
    names = {f"page-{number:02}" for number in range(60)}
    for name in names:
        secrets.set_secret(name, "v")
    pages = [[each.name for each in page] for page in secrets.list_properties_of_secrets().by_page()]
    listed = [name for page in pages for name in page]
    assert len(listed) == len(set(listed))
    assert names <= set(listed)
    assert max(map(len, pages)) == 25
    assert len(list(secrets.list_properties_of_secrets(max_page_size=10).by_page())) > len(pages)


def test_a_deleted_secret_is_recovered_or_purged(secrets: SecretClient) -> None:
    kept = secrets.set_secret("doomed", "v")
    deleted = secrets.begin_delete_secret("doomed").result()
    assert deleted.recovery_id == f"{secrets.vault_url}/deletedsecrets/doomed"
    assert "doomed" in {each.name for each in secrets.list_deleted_secrets()}
    with pytest.raises(ResourceNotFoundError):
        secrets.get_secret("doomed")
    with pytest.raises(ResourceExistsError, match="can be recovered"):
        secrets.set_secret("doomed", "other")
    recovered = secrets.begin_recover_deleted_secret("doomed").result()
    assert recovered.version == kept.properties.version
    assert secrets.get_secret("doomed").value == "v"
    secrets.begin_delete_secret("doomed").wait()
    secrets.purge_deleted_secret("doomed")
    with pytest.raises(ResourceNotFoundError):
        secrets.get_deleted_secret("doomed")
    assert secrets.set_secret("doomed", "new").properties.version != kept.properties.version


def test_an_unknown_name_or_version_is_not_found(secrets: SecretClient) -> None:
    secrets.set_secret("known", "v")
    for name, version in (("unknown", None), ("known", "0" * 32)):
        with pytest.raises(ResourceNotFoundError) as error:
            secrets.get_secret(name, version)
        assert error.value.error is not None
        assert error.value.error.code == "SecretNotFound"


@pytest.mark.parametrize("value", ["x" * 25_601, "é" * 12_801])
def test_a_value_over_the_limit_is_refused_and_not_repeated(secrets: SecretClient, value: str) -> None:
    with pytest.raises(HttpResponseError) as error:
        secrets.set_secret("big", value)
    assert error.value.status_code == 400
    assert value[:100] not in str(error.value)
    assert secrets.set_secret("big", value[:12_800]).value == value[:12_800]


def test_who_has_no_role_is_forbidden_until_it_has_one(vault: VaultProcess, secrets: SecretClient) -> None:
    secrets.set_secret("guarded", "v")
    with SecretClient(vault.url, developer(vault, "visitor"), **client_options(vault)) as client:
        with pytest.raises(HttpResponseError) as error:
            client.get_secret("guarded")
        assert error.value.status_code == 403
        assert error.value.error is not None
        assert error.value.error.innererror == {"code": "ForbiddenByRbac"}
        who = object_id(vault.issuer.address.tenant, "visitor")
        vault.administer("PUT", f"access/{who}", {"roles": ["Key Vault Secrets User"]})
        assert client.get_secret("guarded").value == "v"
        with pytest.raises(HttpResponseError, match="setSecret"):
            client.set_secret("guarded", "other")


def test_a_token_for_another_service_is_refused(vault: VaultProcess) -> None:
    class Stray:
        def get_token(self, *scopes: str, **options: object) -> object:
            return developer(vault).get_token("api://sluice/.default")

    stray: Any = Stray()
    with SecretClient(vault.url, stray, **client_options(vault)) as client, pytest.raises(AzureError) as error:
        client.get_secret("operation-key")
    assert isinstance(error.value, ClientAuthenticationError)
    assert error.value.status_code == 401


def test_a_certificate_of_another_authority_is_refused(vault: VaultProcess) -> None:
    """Without the bundle, a client trusts what the system does; the development authority is not part of it."""
    options = {**client_options(vault), "connection_verify": True}
    wrong = pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED")
    with SecretClient(vault.url, developer(vault), **options) as client, wrong:
        client.get_secret("operation-key")


def test_a_vault_under_another_name_is_not_given_a_token(vault: VaultProcess) -> None:
    """The SDK's own check of the challenge is on: only the address that the challenge is for passes it."""
    refused = pytest.raises(ValueError, match="does not match the requested domain")
    stranger = vault.url.replace("127.0.0.1", "localhost")
    with SecretClient(stranger, developer(vault), **client_options(vault)) as client, refused:
        client.get_secret("operation-key")


def test_the_vault_has_a_name_too(vault: VaultProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6761: names under localhost are this machine's; not every resolver knows, so the test says it."""
    resolve = socket.getaddrinfo
    here = {"vault.localhost": "127.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve(here.get(host, host), *rest, **more))
    with SecretClient(vault.address.named_url, developer(vault), **client_options(vault)) as client:
        assert (client.get_secret("operation-key").id or "").startswith(vault.address.named_url)


def test_a_new_signing_key_of_the_issuer_fails_no_request(vault: VaultProcess) -> None:
    """Tokens of before and after the rotation are taken side by side."""
    with SecretClient(vault.url, developer(vault), **client_options(vault)) as before:
        before.get_secret("operation-key")
        vault.issuer.rotate()
        with SecretClient(vault.url, developer(vault), **client_options(vault)) as after:
            for client in (before, after, before):
                assert client.get_secret("operation-key").value


@pytest.mark.parametrize("module", ["azure.keyvault.secrets", "azure.keyvault.secrets.aio"])
def test_the_environment_is_enough_for_the_sdk(vault: VaultProcess, module: str) -> None:
    """A process with the environment gives no certificate file: both transports find it themselves."""
    code = f"""
import asyncio, inspect, os
from {module} import SecretClient
from {module.replace("keyvault.secrets", "identity")} import ManagedIdentityCredential
async def main():
    credential = ManagedIdentityCredential(client_id=os.environ["CLIENT_ID"])
    client = SecretClient(os.environ["VAULT_URI"], credential)
    found = client.get_secret("operation-key")
    found = await found if inspect.isawaitable(found) else found
    print(len(found.value))
    for each in (client, credential):
        closing = each.close()
        if inspect.isawaitable(closing):
            await closing
asyncio.run(main())
"""
    place = {"VAULT_URI": vault.url, "CLIENT_ID": vault.issuer.registration.client_id}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **vault.environment, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "43", done.stderr
