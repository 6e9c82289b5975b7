"""A value of any size is kept beside its entity and found again through its reference."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.blobs import BlobChanged, BlobMissing, BlobReference, ValueStore
from shared.state.store import state_key

TEXT = "Grüße, 世界 🎁 " * 300_000


@pytest.fixture
def values(container: ContainerClient) -> ValueStore:
    return ValueStore(container)


@pytest.mark.parametrize("key", ["536365", "with space/and\\slash#?%", "ключ", "a." * 60, "..", "x" * 128])
async def test_a_value_of_any_owner_comes_back(values: ValueStore, container: ContainerClient, key: str) -> None:
    owner = f"7/{state_key('order', key)}"
    reference = await values.put_value(owner, TEXT)
    assert await values.get_value(reference) == TEXT
    assert reference.name.rpartition(":")[0] == owner
    assert [blob.name async for blob in container.list_blobs()] == [reference.name]
    assert BlobReference.from_columns(reference.columns()) == reference


async def test_the_same_value_is_kept_once_and_a_new_one_beside_it(
    values: ValueStore, container: ContainerClient
) -> None:
    first = await values.put_value("1/state:order:1", TEXT)
    assert await values.put_value("1/state:order:1", TEXT) == first
    second = await values.put_value("1/state:order:1", TEXT + "!")
    assert await values.get_value(first) == TEXT
    assert len([blob async for blob in container.list_blobs()]) == 2
    await container.delete_blob(second.name)
    with pytest.raises(BlobMissing):
        await values.get_value(second)
    await container.upload_blob(first.name, b"{}", overwrite=True)
    with pytest.raises(BlobChanged):
        await values.get_value(first)


async def test_values_that_were_given_up_are_swept(values: ValueStore, container: ContainerClient) -> None:
    old = await values.put_value("1/state:order:1", "old")
    new = await values.put_value("1/state:order:1", "new")

    async def in_use(names: Collection[str]) -> Collection[str]:
        return {new.name}

    tomorrow = datetime.now(UTC) + timedelta(days=1, minutes=1)
    done = await values.sweeper(in_use=in_use, retention=timedelta(days=1), now=lambda: tomorrow).sweep()
    assert (done.deleted, done.in_use) == (1, 1)
    with pytest.raises(BlobMissing):
        await values.get_value(old)
    assert await values.get_value(new) == "new"
