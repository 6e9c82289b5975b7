"""Clients of the vault as the SDKs are, unmodified."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient

from local_azure.identity.credential import DeveloperCredential
from local_azure.testing.processes import VaultProcess


def client_options(vault: VaultProcess) -> dict[str, Any]:
    """The file is named, since this process has not the stack's environment; no retries, so that faults are seen."""
    return {"connection_verify": vault.ca_bundle, "retry_total": 0}


def developer(vault: VaultProcess, client: str = "developer") -> DeveloperCredential:
    """A credential that signs in as `client`."""
    return DeveloperCredential(vault.issuer.address, vault.issuer.registration, client)


@pytest.fixture
def secrets(vault: VaultProcess) -> Iterator[SecretClient]:
    """The sync client, as an administrator."""
    with SecretClient(vault.url, developer(vault), **client_options(vault)) as client:
        yield client


@pytest.fixture
def keys(vault: VaultProcess) -> Iterator[KeyClient]:
    """The sync client of keys, as an administrator."""
    with KeyClient(vault.url, developer(vault), **client_options(vault)) as client:
        yield client


@pytest.fixture
async def app_secrets(vault: VaultProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncSecretClient]:
    """The async client as the app has it: by managed identity."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, vault.environment[name])
    async with (
        ManagedIdentityCredential(client_id=vault.issuer.registration.client_id) as credential,
        AsyncSecretClient(vault.url, credential, **client_options(vault)) as client,
    ):
        yield client
