"""Data keys: made once, rotated under traffic, readable for ever, whether the vault is there or not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from shared.encryption import DataKeys, KeysUnavailable, KeyTable, SubjectKeys, UnknownKey, decrypt, encrypt
from shared.encryption.key_rows import KeyRow

from .vault import World

DAY = 86_400.0


async def test_every_instance_reads_every_key() -> None:
    """One makes it, another one decrypts what it encrypted."""
    world = World()
    encrypted = encrypt(await world.data_keys().current(), b"plain", aad=b"place")
    key = await world.data_keys().get("d1")
    assert decrypt(key, encrypted, aad=b"place") == b"plain"


async def test_instances_that_start_together_make_one_key() -> None:
    """Whoever is slower takes the other's."""
    world = World()
    keys = await asyncio.gather(*(world.data_keys().current() for _ in range(8)))
    assert {key.id for key in keys} == {"d1"}
    encrypted = encrypt(keys[0], b"plain", aad=b"")
    assert all(decrypt(key, encrypted, aad=b"") == b"plain" for key in keys)


async def test_a_key_grows_old_and_stays_readable() -> None:
    """All instances go on to the same next one."""
    world = World()
    first, second = world.data_keys(), world.data_keys()
    old = encrypt(await first.current(), b"plain", aad=b"")
    await second.current()
    world.clock.move(DAY + 1)
    assert first.peek_current() is None
    assert [(await keys.current()).id for keys in (first, second, world.data_keys())] == ["d2"] * 3
    assert decrypt(await world.data_keys().get("d1"), old, aad=b"") == b"plain"


async def test_a_key_that_sealed_much_is_followed_by_another() -> None:
    """Long before its nonces could repeat."""
    keys = World().data_keys(rotate_after_messages=3)
    used = []
    for _ in range(9):
        key = await keys.current()
        encrypt(key, b"plain", aad=b"")
        used.append(key.id)
    assert used == ["d1"] * 3 + ["d2"] * 3 + ["d3"] * 3


async def test_while_a_new_key_is_made_the_old_one_goes_on() -> None:
    """Only whoever met the age waits."""
    world = World()
    keys = world.data_keys()
    await keys.current()
    world.clock.move(DAY + 1)
    found = await asyncio.gather(*(keys.current() for _ in range(5)))
    assert [key.id for key in found] == ["d2", "d1", "d1", "d1", "d1"]
    assert (await keys.current()).id == "d2"


async def test_a_vault_that_is_away_fails_nothing_that_has_a_key() -> None:
    """The old key goes on, what is known is decrypted, and the vault isn't asked at every message."""
    world = World()
    keys = world.data_keys(rotate_after_messages=1_000)
    old = await keys.current()
    world.secrets.away = True
    world.clock.move(DAY + 1)
    reads = world.secrets.reads
    for _ in range(50):
        assert await keys.current() is old
        assert await keys.get("d1") is old
    assert world.secrets.reads == reads + 1
    world.secrets.away = False
    world.clock.move(31)
    assert (await keys.current()).id == "d2"


async def test_a_key_that_sealed_far_too_much_is_not_used_on() -> None:
    """Then nothing is encrypted until the vault is back."""
    world = World()
    keys = world.data_keys(rotate_after_messages=2)
    key = await keys.current()
    world.secrets.away = True
    for _ in range(8):
        encrypt(await keys.current(), b"plain", aad=b"")
    with pytest.raises(KeysUnavailable):
        await keys.current()
    assert key.messages == 8


async def test_without_any_key_an_absent_vault_is_infrastructure() -> None:
    """Neither encryption nor decryption calls the message wrong."""
    world = World()
    await world.data_keys().current()
    world.secrets.away = True
    with pytest.raises(KeysUnavailable):
        await world.data_keys().current()
    with pytest.raises(KeysUnavailable):
        await world.data_keys().get("d1")


@pytest.mark.parametrize("key_id", ["d7", "d0", "d", "x1", "d99999999999", "'; drop", "", "d1~00"])
async def test_an_unknown_id_is_permanent(key_id: str) -> None:
    """Also one that no key can have."""
    world = World()
    keys = world.data_keys()
    await keys.current()
    with pytest.raises(UnknownKey):
        await keys.get(key_id)


async def test_one_read_serves_all_that_ask_at_once() -> None:
    """And one is enough for good."""
    world = World()
    await world.data_keys().current()
    keys = world.data_keys()
    reads = world.secrets.reads
    found = await asyncio.gather(*(keys.get("d1") for _ in range(20)))
    assert len({id(key) for key in found}) == 1
    assert world.secrets.reads == reads + 1
    assert keys.peek("d1") is found[0]


async def test_a_cancelled_reader_does_not_fail_the_others() -> None:
    """Those who waited for it start again."""
    world = World()
    await world.data_keys().current()
    keys = world.data_keys()
    gate = asyncio.Event()
    get = world.secrets.both

    async def slow(name: str) -> object:
        await gate.wait()
        return await get(name)

    world.secrets.both = slow  # type: ignore[method-assign, assignment]
    first, second = (asyncio.create_task(keys.get("d1")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert (await second).id == "d1"
    assert first.cancelled()


async def test_memory_is_bounded() -> None:
    """The key that was used least lately goes first, and comes back when it is asked for."""
    world = World()
    keys = world.data_keys(rotate_after_messages=1, capacity=2)
    for _ in range(4):
        encrypt(await keys.current(), b"plain", aad=b"")
    assert [keys.peek(f"d{number}") is not None for number in (1, 2, 3, 4)] == [False, False, True, True]
    assert (await keys.get("d1")).id == "d1"


async def test_a_key_that_is_lost_holds_up_nothing_new() -> None:
    """Its row was damaged: what it encrypted is gone, a new key takes over."""
    world = World()
    await world.data_keys().current()
    row = await world.rows.first("data")
    assert row is not None
    await world.rows.replace(replace(row, columns={**row.columns, "wrapped": b"damaged" * 6}))
    keys = world.data_keys()
    assert (await keys.current()).id == "d2"
    with pytest.raises(UnknownKey):
        await keys.get("d1")


def test_bounds_are_checked() -> None:
    """Zero isn't a missing value."""
    with pytest.raises(ValueError, match="above 0"):
        World().data_keys(rotate_after=timedelta(0))


class _LosesAnswers:
    """A table that writes, and whose answer is lost on the way."""

    def __init__(self, world: World) -> None:
        self._rows = world.rows
        self.lossy = True

    async def create(self, row: KeyRow) -> bool:
        """Written, but nobody hears of it."""
        created = await self._rows.create(row)
        if self.lossy:
            raise ConnectionResetError("the answer was lost")
        return created

    def __getattr__(self, name: str) -> object:
        return getattr(self._rows, name)


async def test_a_process_that_dies_while_it_makes_a_key_leaves_one_that_serves() -> None:
    """Whoever comes next takes what is written; neither a data key nor a subject's is made twice."""
    world = World()
    rows = _LosesAnswers(world)
    dying = DataKeys(cast("KeyTable", rows), world.wrapper, now=world.clock)
    with pytest.raises(KeysUnavailable):
        await dying.current()
    assert (await world.data_keys().current()).id == "d1"
    assert (await dying.current()).id == "d1"
    subjects = SubjectKeys(cast("KeyTable", rows), world.wrapper, now=world.clock)
    with pytest.raises(KeysUnavailable):
        await subjects.key_for("tok_a")
    made = await world.subject_keys().key_for("tok_a")
    assert (await subjects.key_for("tok_a")).id == made.id
