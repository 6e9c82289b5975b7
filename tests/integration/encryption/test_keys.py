"""Keys in Table storage under a key in the vault: made once, readable everywhere, wrapped anew, erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.keys.aio import KeyClient

from integration.keyvault.conftest import client_options, developer
from local.azurite import AzuriteEndpoints
from shared.encryption import (
    DataKeys,
    DataKeyWrapper,
    Erased,
    KeysUnavailable,
    KeyTable,
    KeyWrapper,
    Rewrapping,
    SecretWrapper,
    SubjectKeys,
    UnknownKey,
    VaultWrapper,
    decrypt,
    encrypt,
)
from shared.encryption.wrapping import Wrapped
from shared.tables import Query
from shared.tables.azure import AzureTable
from tests.integration.conftest import RunningVault
from tests.unit.shared.encryption.vault import MemorySecrets


@pytest.fixture
async def table(azurite: AzuriteEndpoints) -> AsyncIterator[AzureTable]:
    """A table that isn't there yet."""
    async with AzureTable.from_connection_string(azurite.connection_string, f"keys{uuid4().hex}") as client:
        yield client


@pytest.fixture
async def wrapper(vault: RunningVault, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VaultWrapper]:
    """The app's own way to the vault: by managed identity, trusting the development CA."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, vault.settings[name])
    async with ManagedIdentityCredential(client_id=vault.settings["KeyVault__clientId"]) as credential:
        made = VaultWrapper(vault.url, "data-key-wrap", lambda: credential, connection_verify=vault.ca_bundle)
        yield made
        await made.close()


def now() -> datetime:
    """The clock on the wall."""
    return datetime.now(UTC)


def secret_wrapper() -> SecretWrapper:
    """For what needs no vault."""
    return SecretWrapper(MemorySecrets(data_key="k" * 40), "data-key")


async def rows_of(table: AzureTable) -> list[dict[str, Any]]:
    """Whatever the table holds."""
    return [dict(row) async for row in table.query(Query())]


async def test_a_key_of_the_vault_wraps_and_its_new_version_wraps_anew(
    vault: RunningVault, table: AzureTable, wrapper: VaultWrapper
) -> None:
    """Instances read the same key before and after, and the old version can then be given up."""
    keys = DataKeys(KeyTable(table), wrapper, now=now)
    encrypted = encrypt(await keys.current(), b"plain", aad=b"place")
    (before,) = await rows_of(table)
    assert before["wrappingKey"] == "key:data-key-wrap"
    other = DataKeys(KeyTable(table), wrapper, now=now)
    assert decrypt(await other.get("d1"), encrypted, aad=b"place") == b"plain"

    async with KeyClient(vault.url, _Async(vault), **client_options(vault)) as client:  # type: ignore[arg-type]
        await client.rotate_key("data-key-wrap")
    done = await Rewrapping(KeyTable(table), wrapper).run()
    assert done is not None
    assert (done.seen, done.changed, done.lost) == (1, 1, 0)
    (after,) = await rows_of(table)
    assert after["wrappingVersion"] != before["wrappingVersion"]
    assert after["wrapped"] != before["wrapped"]
    assert decrypt(await DataKeys(KeyTable(table), wrapper, now=now).get("d1"), encrypted, aad=b"place") == b"plain"
    again = await Rewrapping(KeyTable(table), wrapper).run()
    assert again is not None
    assert again.changed == 0


class _Async:
    """The developer's credential for an async client."""

    def __init__(self, vault: RunningVault) -> None:
        self._credential = developer(vault)

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        """A token."""
        return await asyncio.to_thread(self._credential.get_token, *scopes)

    async def close(self) -> None:
        """Nothing is open."""


async def test_what_the_vault_refuses_for_good_and_what_it_cannot_answer_are_told_apart(
    vault: RunningVault, table: AzureTable, wrapper: VaultWrapper
) -> None:
    """A damaged key or an unknown version is permanent; a vault that fails is infrastructure."""
    good = await wrapper.wrap(b"s" * 32)
    with pytest.raises(UnknownKey):
        await wrapper.unwrap(Wrapped(bytes(256), good.key, good.version))
    with pytest.raises(UnknownKey):
        await wrapper.unwrap(Wrapped(good.data, good.key, "0" * 32))
    away = VaultWrapper("https://127.0.0.1:9", "data-key-wrap", lambda: _Async(vault), retry_total=0)  # type: ignore[arg-type, return-value]
    with pytest.raises(KeysUnavailable) as caught:
        await DataKeys(KeyTable(table), away, now=now, timeout=5).current()
    assert isinstance(caught.value.__cause__, ServiceRequestError | TimeoutError)
    await away.close()


@pytest.mark.parametrize("instances", [2, 8])
async def test_instances_that_start_together_make_one_key(table: AzureTable, instances: int) -> None:
    """The table itself is made in the same race."""
    made = [DataKeys(KeyTable(table), secret_wrapper(), now=now) for _ in range(instances)]
    keys = await asyncio.gather(*(one.current() for one in made))
    assert {key.id for key in keys} == {"d1"}
    encrypted = encrypt(keys[0], b"plain", aad=b"")
    assert all(decrypt(key, encrypted, aad=b"") == b"plain" for key in keys)
    assert len(await rows_of(table)) == 1


async def test_rotation_under_traffic_fails_nothing(table: AzureTable) -> None:
    """Four instances encrypt and decrypt each other's messages while keys change every few of them."""
    instances = [DataKeys(KeyTable(table), secret_wrapper(), now=now, rotate_after_messages=25) for _ in range(4)]
    ids: set[str] = set()

    async def talk(number: int) -> None:
        for turn in range(60):
            key = await instances[number].current()
            ids.add(key.id)
            encrypted = encrypt(key, b"plain %d" % turn, aad=b"place")
            reader = instances[(number + turn) % 4]
            assert decrypt(await reader.get(key.id), encrypted, aad=b"place") == b"plain %d" % turn
            await asyncio.sleep(0)

    await asyncio.gather(*(talk(number) for number in range(4)), *(talk(number) for number in range(4)))
    assert len(ids) >= 3
    assert len(await rows_of(table)) >= len(ids)


async def test_a_pass_that_dies_is_gone_on_with_and_two_passes_at_once_are_harmless(table: AzureTable) -> None:
    """Each row holds the same key in either form."""
    secrets = MemorySecrets(data_key="k" * 40)
    wrapper = SecretWrapper(secrets, "data-key")
    keys = DataKeys(KeyTable(table), wrapper, now=now, rotate_after_messages=1)
    encrypted = {}
    for _ in range(6):
        key = await keys.current()
        encrypted[key.id] = encrypt(key, key.id.encode(), aad=b"")
    secrets.rotate("data-key", "n" * 40)
    dying = Rewrapping(KeyTable(table), _Dying(wrapper, after=2))
    with pytest.raises(KeysUnavailable):
        await dying.run()
    versions = [row["wrappingVersion"] for row in await rows_of(table)]
    assert versions.count("v1") == 4
    passes = [Rewrapping(KeyTable(table), wrapper) for _ in range(2)]
    done = await asyncio.gather(*(one.run() for one in passes))
    assert sum(one.changed for one in done) == versions.count("v1")
    assert {row["wrappingVersion"] for row in await rows_of(table)} == {"v2"}
    reader = DataKeys(KeyTable(table), wrapper, now=now)
    for key_id, data in encrypted.items():
        assert decrypt(await reader.get(key_id), data, aad=b"") == key_id.encode()


class _Dying:
    """A wrapper whose vault goes away after some keys."""

    def __init__(self, wrapper: KeyWrapper, *, after: int) -> None:
        self._wrapper = wrapper
        self._left = after

    async def version(self) -> str:
        """As it is."""
        return await self._wrapper.version()

    async def wrap(self, secret: bytes) -> Wrapped:
        """A few times."""
        self._left -= 1
        if self._left < 0:
            raise ConnectionError("the vault is away")
        return await self._wrapper.wrap(secret)

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """As it is."""
        return await self._wrapper.unwrap(wrapped)


async def test_a_subject_has_one_key_until_it_is_erased(table: AzureTable) -> None:
    """Eight makers and four erasers at once, on real rows."""
    rows = KeyTable(table)
    data_keys = DataKeys(KeyTable(table), secret_wrapper(), now=now)
    instances = [SubjectKeys(rows, DataKeyWrapper(data_keys), now=now) for _ in range(8)]
    keys = await asyncio.gather(*(one.key_for("tok_a") for one in instances))
    assert len({key.id for key in keys}) == 1
    encrypted = encrypt(keys[0], b"plain", aad=b"")
    erased = await asyncio.gather(*(one.erase("tok_a", by="ada", reason="asked") for one in instances[:4]))
    assert len([one for one in erased if one is not None]) == 1
    with pytest.raises(Erased):
        await instances[0].get(keys[0].id)
    new = await instances[0].key_for("tok_a")
    assert new.id != keys[0].id
    with pytest.raises(UnknownKey):
        decrypt(new, encrypted, aad=b"")
    stored = await rows_of(table)
    assert sum(1 for row in stored if row["RowKey"].startswith("audit:")) == 1
