"""However a payload is handed in, the same things are stored under the same digest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.blobs import BlobReference
from shared.blobs.content import BLOCK, WHOLE, Content, prepared
from shared.blobs.encoding import PayloadDecoder
from shared.blobs.reference import PayloadTooLarge

LIMIT = 64 * 1024 * 1024


async def in_pieces(payload: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(payload), size):
        yield payload[start : start + size]


async def stored(content: Content) -> bytes:
    if content.whole is not None:
        return content.whole
    blocks = [block async for block in content.blocks()]
    assert [len(block) for block in blocks[:-1]] == [BLOCK] * (len(blocks) - 1)
    assert 0 < len(blocks[-1]) <= BLOCK
    return b"".join(blocks)


async def check(payload: bytes, source: bytes | AsyncIterator[bytes]) -> Content:
    async with prepared(source, limit=LIMIT) as content:
        assert content.size == len(payload)
        assert content.sha256 == hashlib.sha256(payload).hexdigest()
        kept = await stored(content)
        decoder = PayloadDecoder(BlobReference("name", content.sha256, content.size, content.encoding))
        assert b"".join(decoder.feed(kept)) == payload
        decoder.finish()
        return content


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=3_000), st.integers(1, 3_000), st.integers(1, 400))
async def test_a_stream_in_any_pieces_is_the_payload(unit: bytes, piece: int, times: int) -> None:
    payload = unit * times
    await check(payload, payload)
    await check(payload, in_pieces(payload, max(piece, len(payload) // 500)))


@pytest.mark.parametrize("size", [WHOLE, WHOLE + 1, 3 * BLOCK, 3 * BLOCK + 1])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_cannot_be_compressed_is_stored_as_it_is(size: int, streamed: bool) -> None:
    payload = random.Random(size).randbytes(size)
    content = await check(payload, in_pieces(payload, 300_000) if streamed else payload)
    assert content.encoding is None
    assert (content.whole is not None) == (size <= WHOLE)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_payload_whose_head_alone_is_compressible_is_kept_all_the_same(streamed: bool) -> None:
    payload = bytes(300_000) + random.Random(1).randbytes(2 * WHOLE)
    content = await check(payload, in_pieces(payload, 300_000) if streamed else payload)
    assert content.encoding == "zstd"
    assert content.whole is None


async def test_blocks_can_be_had_twice() -> None:
    """A second try of an upload sends the same."""
    payload = random.Random(2).randbytes(WHOLE + 5)
    async with prepared(in_pieces(payload, 500_000), limit=LIMIT) as content:
        assert await stored(content) == await stored(content) == payload


async def test_a_payload_beyond_the_limit_is_refused_before_all_of_it_came() -> None:
    given_out = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given_out
        while True:
            given_out += 1_000
            yield bytes(1_000)

    with pytest.raises(PayloadTooLarge):
        async with prepared(endless(), limit=1_000_000):
            pytest.fail("taken")
    assert given_out < 1_500_000
    with pytest.raises(PayloadTooLarge):
        async with prepared(bytes(1_000_001), limit=1_000_000):
            pytest.fail("taken")


async def test_the_error_of_a_stream_is_passed_on() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(300_000)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        async with prepared(broken(), limit=LIMIT):
            pytest.fail("taken")
