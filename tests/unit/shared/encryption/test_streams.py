"""Encrypted streams: whole, in order, and nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.encryption import (
    DataKey,
    ProtectionError,
    StreamDecryptor,
    StreamEncryptor,
    Truncated,
    UnknownKey,
    stream_key_id,
    stream_size,
)
from shared.encryption.streams import CHUNK

KEY = DataKey("d1", bytes(range(32)))
PLACE = b"place"
SEALED_CHUNK = CHUNK + 16
HEAD = len(b"SLS\x01") + 1 + len("d1") + 16


def encrypted(plain: bytes, pieces: int = 1, key: DataKey = KEY, place: bytes = PLACE) -> bytes:
    """A stream, fed in some pieces."""
    encryption = StreamEncryptor(key, aad=place)
    step = max(1, -(-len(plain) // pieces))
    out = b"".join(encryption.feed(plain[start : start + step]) for start in range(0, len(plain), step))
    return out + encryption.finish()


def decrypted(stream: bytes, block: int = 100_000, key: DataKey = KEY, place: bytes = PLACE) -> bytes:
    """What is in a stream, read in blocks."""
    decryptor = StreamDecryptor(key, aad=place)
    out = [b"".join(decryptor.feed(stream[start : start + block])) for start in range(0, len(stream), block)]
    return b"".join(out) + decryptor.finish()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
@pytest.mark.parametrize("pieces", [1, 7])
def test_what_goes_in_comes_out_whatever_the_pieces(size: int, pieces: int) -> None:
    """At every border of a chunk."""
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stream = encrypted(plain, pieces)
    assert len(stream) <= stream_size(size)
    assert stream_key_id(stream) == "d1"
    for block in (1_000_000, 33_333, SEALED_CHUNK):
        assert decrypted(stream, block) == plain


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_change_of_a_stream_goes_unseen(data: st.DataObject) -> None:
    """Any flipped bit, and any cut."""
    stream = bytearray(encrypted(b"s" * (CHUNK + 100)))
    cut = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(ProtectionError):
        decrypted(bytes(stream[:cut]))
    place = data.draw(st.one_of(st.integers(0, HEAD + 40), st.integers(0, len(stream) - 1)))
    stream[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProtectionError):
        decrypted(bytes(stream))


def test_chunks_keep_their_place() -> None:
    """None is swapped, repeated, left out or the last one before it is; none comes from another stream."""
    stream = encrypted(b"a" * CHUNK + b"b" * CHUNK + b"c" * 10)
    head, first, second, last = (
        stream[:HEAD],
        stream[HEAD : HEAD + SEALED_CHUNK],
        stream[HEAD + SEALED_CHUNK : HEAD + 2 * SEALED_CHUNK],
        stream[HEAD + 2 * SEALED_CHUNK :],
    )
    assert decrypted(head + first + second + last)
    other = encrypted(b"a" * CHUNK + b"b" * CHUNK + b"c" * 10)[HEAD : HEAD + SEALED_CHUNK]
    for wrong in (
        head + second + first + last,
        head + first + first + second + last,
        head + first + last,
        head + first + second,
        head + first,
        head,
        head + other + second + last,
        head + first + second + last + last,
        head + first + second + last + b"\0",
    ):
        with pytest.raises(ProtectionError):
            decrypted(wrong)


def test_a_stream_is_opened_in_its_place_and_with_its_key_only() -> None:
    """Another message's ciphertext, another key, another header."""
    stream = encrypted(b"plain")
    with pytest.raises(ProtectionError):
        decrypted(stream, place=b"elsewhere")
    with pytest.raises(UnknownKey):
        decrypted(stream, key=DataKey("d2", bytes(range(32))))
    with pytest.raises(ProtectionError):
        decrypted(stream, key=DataKey("d1", bytes(range(1, 33))))
    with pytest.raises(Truncated):
        decrypted(b"")


def test_the_same_bytes_never_look_the_same() -> None:
    """Each stream has a key of its own."""
    assert len({encrypted(b"plain") for _ in range(2_000)}) == 2_000


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_one_tree_of_errors(data: bytes) -> None:
    """Whatever somebody puts into the container."""
    for stream in (data, b"SLS\x01" + data, b"SLS\x01\x02d1" + data):
        with pytest.raises(ProtectionError):
            decrypted(stream)
