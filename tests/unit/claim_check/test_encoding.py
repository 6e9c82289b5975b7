"""What is stored comes back as it was given, or is refused: no bytes make it hang, grow or lie."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.blobs import BlobChanged, BlobReference
from shared.blobs.encoding import PIECE, ZSTD, Encoder, PayloadDecoder, encoding_for, largest_stored
from shared.blobs.zstandard import zstd

LIMIT = 1 << 30
payloads = st.one_of(
    st.binary(max_size=4_000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=50), st.integers(1, 30_000)),
)
encodings = st.sampled_from([None, ZSTD])


def reference_to(payload: bytes, encoding: str | None) -> BlobReference:
    return BlobReference("name", hashlib.sha256(payload).hexdigest(), len(payload), encoding)


def stored(payload: bytes, encoding: str | None) -> bytes:
    encoder = Encoder(encoding)
    return encoder.feed(payload) + encoder.finish()


def decoded(reference: BlobReference, blocks: list[bytes]) -> bytes:
    decoder = PayloadDecoder(reference)
    pieces = [piece for block in blocks for piece in decoder.feed(block)]
    decoder.finish()
    return b"".join(pieces)


def cut(data: bytes, seed: int) -> list[bytes]:
    """The data in blocks of any size, none among them."""
    places = random.Random(seed)
    cuts = sorted(places.randint(0, len(data)) for _ in range(places.randint(0, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(payloads, encodings, st.integers())
def test_any_payload_survives_any_chunking(payload: bytes, encoding: str | None, seed: int) -> None:
    encoder = Encoder(encoding)
    kept = b"".join(encoder.feed(piece) for piece in cut(payload, seed)) + encoder.finish()
    assert len(kept) <= largest_stored(reference_to(payload, encoding))
    assert decoded(reference_to(payload, encoding), cut(kept, seed + 1)) == payload


@given(payloads.filter(bool), encodings, st.integers(), st.data())
def test_a_changed_byte_is_found(payload: bytes, encoding: str | None, seed: int, data: st.DataObject) -> None:
    kept = bytearray(stored(payload, encoding))
    place = data.draw(st.integers(0, len(kept) - 1))
    kept[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decoded(reference_to(payload, encoding), cut(bytes(kept), seed))
    except BlobChanged:
        return
    assert found == payload  # a frame has bits that mean nothing


@given(payloads, encodings, st.integers(), st.data())
def test_a_truncated_payload_is_found(payload: bytes, encoding: str | None, seed: int, data: st.DataObject) -> None:
    kept = stored(payload, encoding)
    if not kept:
        return
    shorter = kept[: data.draw(st.integers(0, len(kept) - 1))]
    with pytest.raises(BlobChanged):
        decoded(reference_to(payload, encoding), cut(shorter, seed))


@given(payloads, encodings, st.binary(min_size=1, max_size=200), st.integers())
def test_a_payload_with_something_behind_it_is_found(
    payload: bytes, encoding: str | None, more: bytes, seed: int
) -> None:
    with pytest.raises(BlobChanged):
        decoded(reference_to(payload, encoding), cut(stored(payload, encoding) + more, seed))


@given(st.binary(max_size=2_000), st.integers(0, 4_000))
@example(zstd.compress(b"")[:4], 10)
def test_any_bytes_are_refused_and_nothing_else_happens(noise: bytes, size: int) -> None:
    reference = BlobReference("name", "0" * 64, size, ZSTD)
    with pytest.raises(BlobChanged):
        decoded(reference, [noise])


def test_a_bomb_is_stopped_at_the_size_its_reference_tells() -> None:
    bomb = zstd.compress(bytes(200_000_000))
    assert len(bomb) < 20_000
    decoder = PayloadDecoder(BlobReference("name", "0" * 64, 1_000, ZSTD))
    with pytest.raises(BlobChanged, match="larger"):
        next(decoder.feed(bomb))


def test_a_payload_that_is_very_compressible_comes_in_bounded_pieces() -> None:
    payload = bytes(5 * PIECE + 17)
    decoder = PayloadDecoder(reference_to(payload, ZSTD))
    sizes = [len(piece) for piece in decoder.feed(zstd.compress(payload))]
    decoder.finish()
    assert sum(sizes) == len(payload)
    assert max(sizes) <= PIECE


def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    payload = bytes(1_000)
    frame = compressor.compress(payload) + compressor.flush()
    with pytest.raises(BlobChanged, match="decompressed"):
        decoded(reference_to(payload, ZSTD), [frame])


@pytest.mark.parametrize("encoding", ["gzip", "", "ZSTD", "zstd "])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(BlobChanged, match="encoding"):
        PayloadDecoder(BlobReference("name", "0" * 64, 1, encoding))


def test_compressing_is_chosen_where_it_saves_a_fifth() -> None:
    noise = random.Random(7).randbytes(64 * 1024)
    assert encoding_for(b'{"sku":"85123A","quantity":6}' * 1_000) == ZSTD
    assert encoding_for(noise) is None
    assert encoding_for(noise[: 54 * 1024] + bytes(10 * 1024)) is None  # saves a seventh
    assert encoding_for(noise[: 44 * 1024] + bytes(20 * 1024)) == ZSTD  # saves a third
    assert encoding_for(b"") is None


@pytest.mark.parametrize(
    ("sha256", "size"),
    [
        ("", 1),
        ("0" * 63, 1),
        ("0" * 65, 1),
        ("A" * 64, 1),
        ("../" + "0" * 61, 1),
        ("0" * 64, -1),
        ("0" * 64, LIMIT + 1),
    ],
)
def test_a_reference_that_no_store_gave_out_is_refused(sha256: str, size: int) -> None:
    with pytest.raises(BlobChanged):
        BlobReference("name", sha256, size).check(limit=LIMIT)


@given(st.text(max_size=30), st.integers(0, LIMIT), encodings)
def test_a_reference_survives_its_entity(name: str, size: int, encoding: str | None) -> None:
    reference = BlobReference(name, "0" * 64, size, encoding)
    assert BlobReference.from_columns(reference.columns()) == reference
    assert BlobReference.from_columns({"value": "{}"}) is None
