"""The key wrap: published vectors, versions, damage."""

from __future__ import annotations

import pytest

from shared.encryption import UnknownKey
from shared.encryption.wrapping import Wrapped, unwrap_key, wrap_key

from .vault import World

KEK = bytes(range(32))
DATA = "00112233445566778899aabbccddeeff"
VECTORS = [
    (KEK[:16], DATA, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
    (KEK, DATA, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
    (
        KEK,
        DATA + "000102030405060708090a0b0c0d0e0f",
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
    ),
]
"""RFC 3394, sections 4.1, 4.3 and 4.6."""


@pytest.mark.parametrize(("kek", "secret", "wrapped"), VECTORS)
def test_the_key_wrap_is_the_published_one(kek: bytes, secret: str, wrapped: str) -> None:
    """Both ways, as the RFC says."""
    assert wrap_key(kek, bytes.fromhex(secret)).hex() == wrapped
    assert unwrap_key(kek, bytes.fromhex(wrapped)).hex() == secret


def test_damage_and_another_wrapping_key_are_refused() -> None:
    """Each bit of a wrapped key counts."""
    wrapped = wrap_key(KEK, b"s" * 32)
    for bit in range(8 * len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnknownKey):
            unwrap_key(KEK, bytes(damaged))
    for other in (b"", wrapped[:-1], wrapped[:-8]):
        with pytest.raises(UnknownKey):
            unwrap_key(KEK, other)
    with pytest.raises(UnknownKey):
        unwrap_key(bytes(32), wrapped)


async def test_every_version_of_a_secret_unwraps_what_it_wrapped() -> None:
    """Also one that is older than the previous one."""
    world = World()
    wrapped = await world.wrapper.wrap(b"s" * 32)
    assert (wrapped.key, wrapped.version) == ("secret:data-key", "v1")
    for number in range(3):
        world.secrets.rotate("data-key", f"{number}" * 40)
        assert await world.wrapper.unwrap(wrapped) == b"s" * 32
    assert (await world.wrapper.wrap(b"s" * 32)).version == "v4"


async def test_what_another_kind_of_key_wrapped_is_refused() -> None:
    """A secret can't unwrap what a vault's key did."""
    with pytest.raises(UnknownKey):
        await World().wrapper.unwrap(Wrapped(b"x" * 40, "key:wrap", "v1"))


async def test_a_short_secret_wraps_nothing() -> None:
    """It could be guessed."""
    world = World()
    world.secrets.rotate("data-key", "hunter2")
    with pytest.raises(ValueError, match="32 characters"):
        await world.wrapper.wrap(b"s" * 32)
