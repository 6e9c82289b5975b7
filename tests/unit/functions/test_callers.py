"""API keys that come from a secret: a new list counts at once, a broken one changes nothing."""

from __future__ import annotations

import secrets
from typing import Any, cast

import pytest
from pydantic import SecretStr

from functions.callers import ApiKeySource
from shared.authentication import CannotTell, Unauthenticated, api_key_entry
from shared.secrets import Secret, SecretCache, VaultUnavailable

OLD, NEW = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


class Vault:
    """One secret, with a value that a test changes."""

    def __init__(self) -> None:
        self.secret: Any = None

    async def get(self, name: str) -> Secret:
        """As the cache does."""
        assert name == "api-keys"
        if self.secret is None:
            raise VaultUnavailable(name, "nobody answers")
        return cast(Secret, self.secret)

    def holds(self, version: str, *keys: str) -> None:
        """A list of these keys, all of one client."""
        self.says(version, f"[{','.join(api_key_entry('shop', key, ['producer']) for key in keys)}]")

    def says(self, version: str, value: str) -> None:
        """Any text."""

        class Held:
            name = "api-keys"

        held = Held()
        held.version, held.value = version, value  # type: ignore[attr-defined]
        self.secret = held


@pytest.fixture
def vault() -> Vault:
    """A vault without the secret."""
    return Vault()


def source(vault: Vault) -> ApiKeySource:
    """The keys of the setting `secret:api-keys`."""
    return ApiKeySource(SecretStr("secret:api-keys"), lambda: cast(SecretCache, vault))


async def test_a_key_is_changed_for_another_without_a_gap(vault: Vault) -> None:
    """Old, both, new: each request with a key of the moment is let in."""
    keys = source(vault)
    for version, valid, gone in (("1", [OLD], [NEW]), ("2", [OLD, NEW], []), ("3", [NEW], [OLD])):
        vault.holds(version, *valid)
        for key in valid:
            assert (await keys()).caller(key).client == "shop"
        for key in gone:
            with pytest.raises(Unauthenticated):
                (await keys()).caller(key)


async def test_the_list_is_read_once_for_a_version(vault: Vault) -> None:
    """Not for every request."""
    keys = source(vault)
    vault.holds("1", OLD)
    assert await keys() is await keys()


async def test_a_broken_list_changes_nothing(vault: Vault) -> None:
    """Somebody's slip in the vault locks nobody out."""
    keys = source(vault)
    vault.holds("1", OLD)
    await keys()
    vault.says("2", "not JSON")
    assert (await keys()).caller(OLD)


@pytest.mark.parametrize("value", [None, "not JSON"])
async def test_keys_that_were_never_had_are_nobodys_fault(vault: Vault, value: str | None) -> None:
    """503, not 401."""
    if value is not None:
        vault.says("1", value)
    with pytest.raises(CannotTell):
        await source(vault)()
