"""Secrets of the key vault, and the cache that all of the app reads them through."""

from contextlib import suppress

from shared.environment import SecretReference, WrongSettings
from shared.health import Check
from shared.secrets import Policy, SecretCache, UnknownSecret, Vault, VaultPair
from shared.secrets.settings import SecretSettings
from shared.telemetry import Metrics

from .capability import Capability
from .composition import Composition
from .platform import platform

__all__ = ["capability", "secret_cache", "vaults"]

_UNKNOWN = "sluice-readiness"
_PROBE_SECONDS = 3.0


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
    cache = composition.closing(SecretCache(source, policy, preload=settings.preloaded_secrets, now=composition.now))
    Metrics.secrets_cached.watch(lambda: [(cache.size, {})])
    return cache


def capability(composition: Composition) -> Capability:
    """Settings, and whether the vault answers: whoever reads a secret asks the cache."""
    probed = SecretReference.of(composition.settings.operation_key.get_secret_value())
    name = _UNKNOWN if probed is None else probed.name

    async def probe() -> None:
        """Past the cache: a secret that every stage has, or one that no vault has."""
        with suppress(UnknownSecret):
            await composition.get(vaults)[0].read(name, None, within=_PROBE_SECONDS)

    check = Check(ask=probe, interval=30, timeout=_PROBE_SECONDS, threshold=1, weight=0.5)
    return Capability(
        name="secrets",
        probes={} if composition.settings.key_vault is None else {"key-vault": check},
        metrics=[Metrics.vault_reads, Metrics.vault_duration, Metrics.secrets_cached],
        settings=SecretSettings.variables(),
    )
