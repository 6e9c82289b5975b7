"""Claims and dead letters at rest: unreadable in storage, byte for byte what they were when they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from local.azurite import AzuriteEndpoints
from shared.blobs import BodyStore
from shared.claim_check import ClaimChanged, ClaimStore
from shared.dead_letters import DeadLetter, DeadLetterStore
from shared.encryption import DataKeys, MessageEncryption, ProtectionError, UnknownKey
from shared.messages import Lane
from shared.tables import Query
from shared.tables.azure import AzureTable
from tests.unit.shared.encryption.vault import World

PLANTED = b"planted-value-of-ada"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def container(azurite: AzuriteEndpoints) -> AsyncIterator[ContainerClient]:
    """A container that isn't there yet."""
    async with ContainerClient.from_connection_string(azurite.connection_string, f"encrypted-{uuid4().hex}") as client:
        yield client


@pytest.fixture
async def table(azurite: AzuriteEndpoints) -> AsyncIterator[AzureTable]:
    """An empty table."""
    async with AzureTable.from_connection_string(azurite.connection_string, f"letters{uuid4().hex}") as client:
        await client.ensure_created()
        yield client


def keys() -> DataKeys:
    """Keys in memory."""
    return World().data_keys()


async def pieces(payload: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for start in range(0, len(payload), 70_000):
        yield payload[start : start + 70_000]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("size", [0, 10, 300_000, 12_000_000])
async def test_a_sealed_claim_comes_back_and_is_unreadable_in_storage(
    container: ContainerClient, size: int, streamed: bool
) -> None:
    """Compressed before it is encrypted; its SHA-256 and size are those of the payload."""
    payload = (PLANTED + bytes(range(256)))[:size] if size < 300 else (PLANTED * (size // len(PLANTED) + 1))[:size]
    store = ClaimStore(container, keys=keys(), encrypt=True)
    message_id = uuid4()
    claim = await store.put(message_id, pieces(payload) if streamed else payload)
    assert (claim.size, claim.is_encrypted) == (size, True)
    stored = await (await container.download_blob(claim.name)).readall()
    assert stored.startswith(b"SLS\x01\x02d1")
    assert PLANTED[:10] not in stored
    assert len(stored) < max(size, 200)
    assert await store.get(message_id, claim) == payload
    assert b"".join([piece async for piece in store.open(message_id, claim)]) == payload
    assert await ClaimStore(container, keys=store._blobs._keys).get(message_id, claim) == payload


async def test_a_plain_claim_is_read_after_sealing_began(container: ContainerClient) -> None:
    """And the other way round, without keys, an encrypted one is refused for good."""
    message_id, known = uuid4(), keys()
    plain = await ClaimStore(container).put(message_id, b"plain" * 100)
    assert await ClaimStore(container, keys=known, encrypt=True).get(message_id, plain) == b"plain" * 100
    encrypted = await ClaimStore(container, keys=known, encrypt=True).put(message_id, b"sealed" * 100)
    with pytest.raises(UnknownKey):
        await ClaimStore(container).get(message_id, encrypted)


@pytest.mark.parametrize("change", ["flipped", "truncated", "header", "another's", "plain", "empty"])
async def test_a_changed_claim_is_refused_for_good(container: ContainerClient, change: str) -> None:
    """Whatever somebody who can write to the container does."""
    store = ClaimStore(container, keys=keys(), encrypt=True)
    mine, other = uuid4(), uuid4()
    payload = PLANTED * 40_000
    claim, theirs = await store.put(mine, payload), await store.put(other, payload)
    blob = container.get_blob_client(claim.name)
    stored = await (await blob.download_blob()).readall()
    changed = {
        "flipped": stored[:100] + bytes([stored[100] ^ 1]) + stored[101:],
        "truncated": stored[:-1],
        "header": stored.replace(b"\x02d1", b"\x02d7", 1),
        "another's": await (await container.download_blob(theirs.name)).readall(),
        "plain": payload,
        "empty": b"",
    }[change]
    await blob.upload_blob(changed, overwrite=True)
    with pytest.raises((ProtectionError, ClaimChanged)):
        await store.get(mine, claim)


def letter(body: bytes, **changed: Any) -> DeadLetter:
    """A dead letter."""
    plain: dict[str, Any] = {
        "identity": "m-1",
        "properties": {},
        "source": "lane:high",
        "category": "permanent",
        "code": "X",
        "reason": "because",
        "attempts": 1,
        "first_failure": NOW,
        "last_failure": NOW,
    }
    return DeadLetter(body=body, **(plain | changed))


@pytest.mark.parametrize("size", [0, 20, 65_500, 200_000])
async def test_a_dead_letters_body_is_encrypted_at_rest_and_whole_when_it_is_read(
    table: AzureTable, container: ContainerClient, size: int
) -> None:
    """In the row or beside it; written twice it is one letter; without keys it isn't readable."""
    body = (PLANTED * (size // len(PLANTED) + 1))[:size]
    encryption = MessageEncryption(keys(), list(Lane))
    store = DeadLetterStore(table, BodyStore(container), encryption=encryption)
    for _ in range(2):
        await store.put(letter(body))
    (row,) = [dict(row) async for row in table.query(Query())]
    assert PLANTED not in str(row).encode()
    if "bodyBlob" in row:
        assert PLANTED not in await (await container.download_blob(row["bodyBlob"])).readall()
    (kept,) = await store.starting_with(row["RowKey"][:8])
    assert kept.body_size == size
    assert await store.body(kept) == body
    if size:
        with pytest.raises(UnknownKey):
            await DeadLetterStore(table, BodyStore(container)).body(kept)


async def test_a_plain_dead_letter_is_read_after_sealing_began(table: AzureTable, container: ContainerClient) -> None:
    """What was kept before stays readable."""
    await DeadLetterStore(table, BodyStore(container)).put(letter(b"plain"))
    store = DeadLetterStore(table, BodyStore(container), encryption=MessageEncryption(keys(), list(Lane)))
    (row,) = [dict(row) async for row in table.query(Query())]
    (kept,) = await store.starting_with(row["RowKey"][:8])
    assert await store.body(kept) == b"plain"
