"""Secrets of the key vault, and the cache that all of the app reads them through."""

from shared.environment import WrongSettings
from shared.secrets import Policy, SecretCache, Vault, VaultPair
from shared.secrets.settings import SecretSettings
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .platform import platform

__all__ = ["capability", "secret_cache", "vaults"]


def vaults(composition: Composition) -> tuple[Vault, ...]:
    """The key vault, and the one of another region where there is one.

    Raises
    ------
    WrongSettings
        There is none.
    """
    connection = composition.settings.key_vault
    if connection is None:
        raise WrongSettings("Wrong settings: KeyVault__vaultUri: is missing")
    credential = composition.get(platform).vault_credential
    reads = composition.settings.secret_reads_per_10_seconds
    return tuple(Vault(uri, credential, reads_per_10_seconds=reads) for uri in connection.vaults)


def secret_cache(composition: Composition) -> SecretCache:
    """Every secret of the app."""
    settings = composition.settings
    policy = Policy(
        ttl=settings.secret_ttl_seconds,
        stale=settings.secret_stale_seconds,
        timeout=settings.secret_timeout_seconds,
        overlap=settings.secret_overlap_seconds,
    )
    source = VaultPair(composition.get(vaults), timeout=policy.timeout)
    made = SecretCache(source, policy, preload=settings.preloaded_secrets, now=composition.now)
    composition.on_close(made.close)
    return made


def capability(composition: Composition) -> Capability:
    """Settings alone: whoever reads a secret asks the cache."""
    return Capability(
        name="secrets",
        metrics=[Metrics.vault_reads, Metrics.vault_duration],
        settings=SecretSettings.variables(),
    )
