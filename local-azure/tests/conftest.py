"""Services in processes of their own, for tests that kill them or have them fail; and what only this repository has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from integration.keyvault.seeds import SEEDS
from local_azure.testing.processes import IssuerProcess, VaultProcess, issuer_process, vault_process

try:
    from tests.integration.conftest import azurite
except ModuleNotFoundError:  # the distribution alone: storage is not in it

    @pytest.fixture(scope="session")
    def azurite() -> None:
        """Azurite, which the repository's own tests start."""
        pytest.skip("these tests need Azurite")


# An example that takes long on a busy machine proves nothing: what may hang has a time-out.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

__all__ = ["azurite", "issuer", "project", "vault"]


@pytest.fixture(scope="session")
def project() -> Path:
    """The folder that holds local-azure."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuerProcess]:
    """A fresh OpenID issuer."""
    with issuer_process(tmp_path_factory.mktemp("issuer")) as found:
        yield found


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory, issuer: IssuerProcess) -> Iterator[VaultProcess]:
    """A fresh Key Vault with some seeds."""
    with vault_process(tmp_path_factory.mktemp("vault"), issuer, *SEEDS) as found:
        yield found
