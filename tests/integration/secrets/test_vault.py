"""What the vault refuses, told through the real SDK; and one that isn't trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.identity.aio import ManagedIdentityCredential

from local_azure.identity import object_id
from shared.secrets import (
    Policy,
    SecretDisabled,
    SecretExpired,
    UnknownSecret,
    Vault,
    VaultDenied,
    VaultUnavailable,
)
from tests.integration.conftest import RunningVault

from .conftest import NewCache, NewClient

POLICY = Policy(timeout=10, negative=60)


async def test_versions_are_told_apart(vault: RunningVault, client: NewClient, instance: NewCache) -> None:
    """Current, previous and pinned; a version that is disabled is offered no more."""
    writer, cache = client(vault), instance(vault, POLICY)
    first = await writer.write("told-apart", "one", tags={}, expires=None)
    second = await writer.write("told-apart", "two", tags={}, expires=None)
    assert [secret.value for secret in await cache.both("told-apart")] == ["two", "one"]
    assert (await cache.get(f"told-apart/{first.version}")).value == "one"
    await writer.disable("told-apart", first.version)
    assert await cache.changed("told-apart")
    assert [secret.version for secret in await cache.both("told-apart")] == [second.version]


async def test_what_is_refused_is_one_typed_error(vault: RunningVault, client: NewClient, instance: NewCache) -> None:
    """Asked for once in a while only."""
    writer, cache = client(vault), instance(vault, POLICY)
    disabled = await writer.write("refused-disabled", "a value", tags={}, expires=None)
    await writer.disable("refused-disabled", disabled.version)
    await writer.write("refused-expired", "a value", tags={}, expires=datetime.now(UTC) - timedelta(days=1))
    expected = {
        "refused-unknown": UnknownSecret,
        "refused-disabled": SecretDisabled,
        "refused-expired": SecretExpired,
    }
    vault.administer("DELETE", "requests")
    for _ in range(3):
        for name, error in expected.items():
            with pytest.raises(error):
                await cache.get(name)
    assert vault.requests()["items"]["secrets/get"] == dict.fromkeys(expected, 1)


async def test_a_role_that_is_taken_away_is_no_outage_at_once(
    vault: RunningVault, client: NewClient, instance: NewCache
) -> None:
    """What is held is used; what isn't is refused."""
    await client(vault).write("taken-away", "a value", tags={}, expires=None)
    cache = instance(vault, POLICY)
    await cache.get("taken-away")
    identity = object_id(vault.issuer.address.tenant, vault.issuer.registration.client_id)
    vault.administer("PUT", f"access/{identity}", {"roles": []})
    try:
        assert await cache.changed("taken-away")
        assert (await cache.get("taken-away")).value == "a value"
        with pytest.raises(VaultDenied):
            await cache.get("token-key")
    finally:
        vault.administer("PUT", f"access/{identity}", {"roles": ["Key Vault Secrets Officer", "Key Vault Crypto User"]})


async def test_a_vault_with_another_ca_is_not_trusted(vault: RunningVault, client: NewClient) -> None:
    """No request leaves; the error says what kind it is."""
    vault.administer("DELETE", "requests")
    async with ManagedIdentityCredential(client_id=vault.settings["KeyVault__clientId"]) as credential:
        stranger = Vault(vault.url, lambda: credential, reads_per_10_seconds=10)
        with pytest.raises(VaultUnavailable, match="can't be reached"):
            await stranger.read("token-key", None, within=1)
        await stranger.close()
    assert vault.requests()["operations"] == {}
