"""Claims, dead letters and read models on a real Azurite."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.blobs import BodyStore
from shared.claim_check import Claim, ClaimChanged, ClaimMissing, ClaimStore
from shared.dead_letters import DeadLetter, DeadLetterStore
from shared.query import ReadModels, ViewRow
from shared.state import bucket_of
from shared.tables import Query, Table
from tests.integration.app.test_state_store import KEYS
from tests.unit.memory import claim_of

from .conftest import NewTable

MESSAGE = UUID("9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def blobs(container: ContainerClient) -> list[str]:
    """Names of what is in the container."""
    return [blob.name async for blob in container.list_blobs()]


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 3_000_000], ids=len)
async def test_a_claimed_payload_comes_back_byte_for_byte(container: ContainerClient, payload: bytes) -> None:
    """The container is made with the first one."""
    store = ClaimStore(container)
    claim = await store.put(MESSAGE, payload)
    assert await store.get(MESSAGE, claim) == payload


async def test_a_payload_is_uploaded_once(container: ContainerClient) -> None:
    """However often, and at the same time, the same message is sent; another payload is another blob."""
    store = ClaimStore(container)
    claims = await asyncio.gather(*(store.put(MESSAGE, b"payload") for _ in range(8)))
    assert len(set(claims)) == 1
    assert await blobs(container) == [claims[0].name]
    await store.put(MESSAGE, b"another")
    assert len(await blobs(container)) == 2


async def test_the_blob_says_which_message_it_belongs_to(container: ContainerClient) -> None:
    """For the sweeper of orphans and the summary."""
    claim = await ClaimStore(container).put(MESSAGE, b"payload")
    properties = await container.get_blob_client(claim.name).get_blob_properties()
    assert properties.metadata == {"messageid": str(MESSAGE), "sha256": claim.sha256, "size": "7"}


async def test_a_missing_payload_is_missing(container: ContainerClient) -> None:
    """Without its container and without its blob."""
    store = ClaimStore(container)
    gone = claim_of(MESSAGE, b"gone")
    with pytest.raises(ClaimMissing):
        await store.get(MESSAGE, gone)
    await store.put(MESSAGE, b"other")
    with pytest.raises(ClaimMissing):
        await store.get(MESSAGE, gone)


@pytest.mark.parametrize("changed", [b"", b"payloae", b"payload, longer"])
async def test_a_changed_payload_is_found_out(container: ContainerClient, changed: bytes) -> None:
    """By its size or its hash."""
    store = ClaimStore(container)
    claim = await store.put(MESSAGE, b"payload")
    await container.upload_blob(claim.name, changed, overwrite=True)
    with pytest.raises(ClaimChanged):
        await store.get(MESSAGE, claim)


async def test_another_messages_payload_can_not_be_claimed(container: ContainerClient) -> None:
    """Nor a blob by any other name."""
    store = ClaimStore(container)
    claim = await store.put(MESSAGE, b"payload")
    for foreign in (claim, Claim("../../secrets", claim.sha256, claim.size), Claim("", claim.sha256, claim.size)):
        with pytest.raises(ClaimChanged, match="belongs to another message"):
            await store.get(uuid4(), foreign)


def letter(**changed: Any) -> DeadLetter:
    """A dead letter."""
    plain: dict[str, Any] = {
        "identity": "m-1",
        "body": b"body",
        "properties": {"messageId": "m-1"},
        "source": "lane:normal",
        "category": "invalid",
        "code": "MALFORMED_JSON",
        "reason": "because",
        "attempts": 1,
        "first_failure": NOW,
        "last_failure": NOW,
        "message_id": "m-1",
    }
    return DeadLetter(**(plain | changed))


async def rows_of(table: Table) -> list[dict[str, Any]]:
    """Every row."""
    return [dict(row) async for row in table.query(Query())]


async def test_a_dead_letter_is_kept_once_with_its_reason(new_table: NewTable, container: ContainerClient) -> None:
    """A second delivery replaces it."""
    table = new_table()
    store = DeadLetterStore(table, BodyStore(container))
    await asyncio.gather(*(store.put(letter(identity=name, message_id=name)) for name in ("m-1", "m-2", "m-1")))
    await store.put(letter(reason="again", attempts=2))
    found = {row["messageId"]: row for row in await rows_of(table)}
    assert found.keys() == {"m-1", "m-2"}
    assert (found["m-1"]["reason"], found["m-1"]["attempts"], found["m-1"]["body"]) == ("again", 2, b"body")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_a_dead_letters_body_is_kept_whole(new_table: NewTable, container: ContainerClient, size: int) -> None:
    """In the row while it fits, else beside it."""
    table = new_table()
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    await DeadLetterStore(table, BodyStore(container)).put(letter(body=body))
    (row,) = await rows_of(table)
    assert row["bodySize"] == size
    if "bodyBlob" in row:
        stream = await container.download_blob(row["bodyBlob"])
        assert await stream.readall() == body
    else:
        assert row.get("body", b"") == body


@pytest.mark.parametrize("filling", ["x", "é", "😀", "\ud800", "\x00", "'", '"\\'])
async def test_no_text_keeps_a_dead_letter_from_being_stored(
    new_table: NewTable, container: ContainerClient, filling: str
) -> None:
    """Too long, half a character, control characters: in every column at once, beside the largest body."""
    long = filling * 100_000
    table = new_table()
    await DeadLetterStore(table, BodyStore(container)).put(
        letter(
            body=b"x" * 65_536,
            properties={"anything": long, "bytes": b"\xff"},
            source=long,
            code=long,
            reason=long,
            message_id=long,
            event_type=long,
            key=long,
            correlation_id=long,
            traceparent=long,
        )
    )
    (row,) = await rows_of(table)
    assert row["category"] == "invalid"


@pytest.mark.parametrize("key", KEYS)
async def test_a_view_shows_any_key(new_table: NewTable, key: str) -> None:
    """Put, replaced, read."""
    views = ReadModels(new_table())
    assert await views.get("orders", key) is None
    for count in (1, 2):
        await views.put([ViewRow(view="orders", key=key, value=f'{{"count":{count}}}', event_id="e", sequence=count)])
    assert await views.get("orders", key) == '{"count":2}'
    assert await views.get("credit-notes", key) is None


async def test_the_newest_row_of_a_batch_is_shown(new_table: NewTable) -> None:
    """Also where a batch holds more rows than a transaction."""
    views = ReadModels(new_table())
    rows = [
        ViewRow(
            view="orders",
            key=f"k{number % 1_000}",
            value=str(number),
            event_id=str(number),
            sequence=number // 1_000 + 1,
        )
        for number in range(2_500)
    ]
    await views.put(rows)
    assert [await views.get("orders", key) for key in ("k0", "k499", "k500", "k999")] == [
        "2000",
        "2499",
        "1500",
        "1999",
    ]


async def test_large_rows_of_one_shard_are_written_in_several_transactions(new_table: NewTable) -> None:
    """Together they are more than one transaction holds."""
    views = ReadModels(new_table())
    value = "é" * 300_000
    shard = [f"k{number}" for number in range(200) if bucket_of(f"k{number}", 16) == 0][:10]
    await views.put([ViewRow(view="orders", key=key, value=value, event_id="e", sequence=1) for key in shard])
    assert await views.get("orders", shard[-1]) == value
