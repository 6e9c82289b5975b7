"""A claim gives back the very payload of its message, or says why it can't."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.claim_check import Claim, ClaimChanged, ClaimMissing, ClaimStore
from tests.integration.claim_check.conftest import Wire

LARGE = 20 * 1024 * 1024
JSON = b'{"lines":[' + b'{"sku":"85123A","quantity":6,"unitPrice":2.55},' * 500_000 + b"{}]}"
NOISE = random.Random(1).randbytes(LARGE)
PAYLOADS = {
    "empty": b"",
    "small": b'{"a":1}',
    "small noise": NOISE[:40_000],
    "compressed": JSON,
    "one request": NOISE[:5_000_000],
    "many blocks": NOISE,
}


@pytest.fixture
def claims(container: ContainerClient) -> ClaimStore:
    return ClaimStore(container)


async def streamed(payload: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(payload), 700_001):
        yield payload[start : start + 700_001]


async def names(container: ContainerClient) -> list[str]:
    return [blob.name async for blob in container.list_blobs()]


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("as_stream", [False, True])
async def test_a_payload_comes_back_whole_and_in_pieces(claims: ClaimStore, kind: str, as_stream: bool) -> None:
    payload, message_id = PAYLOADS[kind], uuid4()
    claim = await claims.put(message_id, streamed(payload) if as_stream else payload)
    assert claim.name == f"{message_id}/{claim.sha256}"
    assert claim.size == len(payload)
    assert (claim.encoding == "zstd") == (kind == "compressed")
    assert await claims.get(message_id, claim) == payload
    assert b"".join([piece async for piece in claims.open(message_id, claim)]) == payload


async def test_what_compresses_takes_less_room(claims: ClaimStore, container: ContainerClient) -> None:
    claim = await claims.put(uuid4(), JSON)
    found = await container.get_blob_client(claim.name).get_blob_properties()
    assert found.size < len(JSON) / 10
    assert found.metadata["messageid"] == claim.name.partition("/")[0]


@pytest.mark.parametrize("payload", [JSON, NOISE], ids=["one request", "many blocks"])
async def test_the_same_payload_is_uploaded_once(
    container: ContainerClient, wire: Wire, behind_wire: Callable[[Wire], ContainerClient], payload: bytes
) -> None:
    message_id = uuid4()
    first = await ClaimStore(container).put(message_id, payload)
    async with behind_wire(wire) as counted:
        assert await ClaimStore(counted).put(message_id, payload) == first
        assert await ClaimStore(counted).put(message_id, streamed(payload)) == first
    assert len(await names(container)) == 1
    if payload is NOISE:
        assert wire.sent < 100_000


async def test_uploads_of_the_same_claim_at_once_all_succeed(claims: ClaimStore, container: ContainerClient) -> None:
    message_id = uuid4()
    sources = [NOISE if number % 2 else streamed(NOISE) for number in range(4)]
    found = await asyncio.gather(*(claims.put(message_id, source) for source in sources))
    assert len(set(found)) == 1
    assert await names(container) == [found[0].name]
    assert await claims.get(message_id, found[0]) == NOISE


async def test_a_claim_tells_the_encoding_of_what_is_there(claims: ClaimStore, container: ContainerClient) -> None:
    """An instance of another version may have been first, with another choice."""
    message_id = uuid4()
    first = await claims.put(message_id, JSON)
    await container.delete_blob(first.name)
    metadata = {"sha256": first.sha256, "size": str(first.size)}
    await container.upload_blob(first.name, JSON, metadata=metadata)
    again = await claims.put(message_id, JSON)
    assert again == replace(first, encoding=None)
    assert await claims.get(message_id, again) == JSON


async def test_another_payload_under_the_same_message_id_has_a_claim_of_its_own(claims: ClaimStore) -> None:
    message_id = uuid4()
    first, second = await claims.put(message_id, JSON), await claims.put(message_id, JSON + b" ")
    assert first.name != second.name
    assert await claims.get(message_id, first) == JSON


async def check_refused(claims: ClaimStore, message_id: UUID, claim: Claim, error: type[Exception]) -> None:
    with pytest.raises(error):
        await claims.get(message_id, claim)
    with pytest.raises(error):
        [piece async for piece in claims.open(message_id, claim)]


async def test_a_missing_payload_is_never_an_empty_one(claims: ClaimStore, container: ContainerClient) -> None:
    message_id = uuid4()
    nothing = Claim(Claim.name_of(message_id, "0" * 64), "0" * 64, 10)
    await check_refused(claims, message_id, nothing, ClaimMissing)  # no container
    await claims.put(message_id, b"something")
    await check_refused(claims, message_id, nothing, ClaimMissing)  # no blob
    await check_refused(claims, message_id, replace(nothing, size=0), ClaimMissing)


@pytest.mark.parametrize("payload", [JSON, NOISE, b"small"], ids=["compressed", "many blocks", "small"])
@pytest.mark.parametrize(
    "change",
    [lambda stored: stored[:-1], lambda stored: b"", lambda stored: stored + b"!", lambda stored: b"?" + stored[1:]],
    ids=["truncated", "emptied", "longer", "changed"],
)
async def test_a_changed_payload_is_refused(
    claims: ClaimStore, container: ContainerClient, payload: bytes, change: Callable[[bytes], bytes]
) -> None:
    message_id = uuid4()
    claim = await claims.put(message_id, payload)
    blob = container.get_blob_client(claim.name)
    stored = await (await blob.download_blob()).readall()
    await blob.upload_blob(change(stored), overwrite=True)
    await check_refused(claims, message_id, claim, ClaimChanged)


async def test_wrong_claims_are_refused(claims: ClaimStore) -> None:
    message_id, other_id = uuid4(), uuid4()
    claim, other = await claims.put(message_id, JSON), await claims.put(other_id, NOISE[:100_000])
    wrong = [
        other,
        Claim(other.name, claim.sha256, claim.size, claim.encoding),
        replace(claim, encoding=None),
        replace(claim, encoding="gzip"),
        replace(claim, size=claim.size - 1),
        replace(claim, size=claim.size + 1),
        replace(claim, size=10),
        replace(claim, size=-1),
        replace(claim, size=1 << 60),
    ]
    for forged in wrong:
        await check_refused(claims, message_id, forged, ClaimChanged)
    await check_refused(claims, other_id, replace(other, encoding="zstd"), ClaimChanged)


async def test_a_stream_that_breaks_off_leaves_nothing(claims: ClaimStore, container: ContainerClient) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in streamed(NOISE):
            yield piece
        raise ConnectionResetError

    await container.create_container()
    with pytest.raises(ConnectionResetError):
        await claims.put(uuid4(), broken())
    assert await names(container) == []


async def test_reading_may_stop_midway(claims: ClaimStore) -> None:
    message_id = uuid4()
    claim = await claims.put(message_id, NOISE)
    pieces = claims.open(message_id, claim)
    assert NOISE.startswith(await anext(pieces))
    await pieces.aclose()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "blob-range"] == []


async def test_renewing_a_payload_while_it_is_read_does_no_harm(claims: ClaimStore) -> None:
    message_id = uuid4()
    claim = await claims.put(message_id, NOISE)
    found = b""
    async for piece in claims.open(message_id, claim):
        found += piece
        await claims.renew(claim.name)
    assert found == NOISE


async def test_a_payload_that_is_gone_cannot_be_renewed(claims: ClaimStore) -> None:
    await claims.put(uuid4(), b"x")
    with pytest.raises(ClaimMissing):
        await claims.renew("nothing/there")
