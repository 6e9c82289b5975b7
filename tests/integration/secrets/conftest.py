"""Instances of the cache on the local vault, through the real SDK and the managed identity of the stack."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ManagedIdentityCredential

from shared.secrets import Policy, SecretCache, Vault, VaultPair
from tests.integration.conftest import RunningIssuer, RunningVault

NewClient = Callable[[RunningVault], Vault]
NewCache = Callable[[RunningVault, Policy], SecretCache]


@pytest.fixture
async def client(issuer: RunningIssuer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NewClient]:
    """Makes clients of a vault, each with a connection of its own."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, issuer.settings[name])
    made: list[Vault] = []
    async with ManagedIdentityCredential(client_id=issuer.registration.client_id) as credential:

        def new(vault: RunningVault) -> Vault:
            # with a path the SDK would read the bundle for every request; in a host SSL_CERT_FILE names it once
            trust = ssl.create_default_context(cafile=vault.ca_bundle)
            session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False)
            options = {"transport": AioHttpTransport(session=session)}
            made.append(Vault(vault.url, lambda: credential, reads_per_10_seconds=4_000, options=options))
            return made[-1]

        yield new
        for one in made:
            await one.close()


@pytest.fixture
async def instance(client: NewClient) -> AsyncIterator[NewCache]:
    """Makes the cache of one more instance."""
    made: list[SecretCache] = []

    def new(vault: RunningVault, policy: Policy) -> SecretCache:
        made.append(SecretCache(VaultPair([client(vault)], timeout=policy.timeout), policy))
        return made[-1]

    yield new
    for one in made:
        await one.close()
