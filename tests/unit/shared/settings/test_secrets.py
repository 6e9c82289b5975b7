"""Settings of Key Vault, and settings that name a secret: no value is ever told, no reference is without a vault."""

from __future__ import annotations

import pytest

from shared.environment import SecretReference
from shared.settings import Settings

from .test_settings import load, refused

VAULT = {"KeyVault__vaultUri": "https://one.vault.azure.net/"}


def test_without_a_vault_there_is_none() -> None:
    """Everything about the vault is optional."""
    assert load().key_vault is None


def test_a_vault_is_read_as_the_platform_spells_it() -> None:
    """With its identity and the vault of another region."""
    vault = load(
        **VAULT,
        KeyVault__fallbackVaultUri="https://two.vault.azure.net",
        KeyVault__credential="managedidentity",
        KeyVault__clientId="an-id",
    ).key_vault
    assert vault is not None
    assert vault.vaults == ("https://one.vault.azure.net", "https://two.vault.azure.net")
    assert (vault.credential, vault.client_id) == ("managedidentity", "an-id")


@pytest.mark.parametrize(
    "uri",
    [
        "http://one.vault.azure.net",
        "https://",
        "one.vault.azure.net",
        "https://a/secrets",
        "https://u:p@a",
        "https://a?b",
    ],
)
def test_a_vault_is_reached_over_https_at_its_root(uri: str) -> None:
    """Anything else could carry a secret in the clear, or to somebody else."""
    assert "KeyVault__vaultUri: must be https" in refused(KeyVault__vaultUri=uri)


def test_an_identity_without_a_vault_is_half_a_connection() -> None:
    """Named by its variable."""
    assert "KeyVault__vaultUri: is missing" in refused(KeyVault__credential="managedidentity")


def test_one_vault_is_no_fallback_for_itself() -> None:
    """Whichever way it is written."""
    assert "KeyVault" in refused(**VAULT, KeyVault__fallbackVaultUri=VAULT["KeyVault__vaultUri"].rstrip("/"))


def test_the_operation_key_may_name_a_secret() -> None:
    """Its length is then checked when it is read."""
    settings: Settings = load(**VAULT, SLUICE_OPERATION_KEY="secret:operation-key")
    assert SecretReference.of(settings.operation_key.get_secret_value()) == SecretReference("operation-key")


def test_a_reference_needs_a_vault() -> None:
    """The message names the setting and what is missing."""
    message = refused(SLUICE_OPERATION_KEY="secret:operation-key")
    assert "SLUICE_OPERATION_KEY" in message
    assert "KeyVault__vaultUri" in message


@pytest.mark.parametrize(
    "text", ["secret:", "secret:a b", "secret:a/", "secret:a/b/c", "secret:ä", "secret:" + "a" * 128]
)
def test_a_reference_is_what_key_vault_takes(text: str) -> None:
    """And a value that was put after the prefix by mistake isn't repeated."""
    message = refused(**VAULT, SLUICE_OPERATION_KEY=text)
    assert "SLUICE_OPERATION_KEY: a secret's " in message
    assert text not in message


def test_what_is_needed_at_the_start_cannot_wait_for_the_vault() -> None:
    """Telemetry starts before the event loop."""
    message = refused(**VAULT, APPLICATIONINSIGHTS_CONNECTION_STRING="secret:insights")
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in message


def test_secrets_to_preload_are_a_list_of_names() -> None:
    """In order, once each."""
    assert load(**VAULT, SLUICE_SECRET_PRELOAD=" a, b,a,").preloaded_secrets == ("a", "b")
    assert "SLUICE_SECRET_PRELOAD" in refused(**VAULT, SLUICE_SECRET_PRELOAD="a,b c")
    assert "KeyVault__vaultUri" in refused(SLUICE_SECRET_PRELOAD="a")


def test_a_value_is_usable_at_least_for_its_time_to_live() -> None:
    """A shorter stale bound would make the vault an outage of its own."""
    assert "SLUICE_SECRET_STALE_SECONDS" in refused(SLUICE_SECRET_TTL_SECONDS="100", SLUICE_SECRET_STALE_SECONDS="50")
