"""The cache: one read for all, bounded waits, both versions, and no value anywhere that can be read by mistake."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.secrets import Policy, SecretDisabled, SecretExpired, UnknownSecret, VaultUnavailable

from .world import POLICY, VALUE, World

UNAVAILABLE = VaultUnavailable("a", "no answer")


async def settle() -> None:
    """Let what was begun in the background end."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_callers_are_one_read() -> None:
    """When nothing is held, and when it is refreshed."""
    world = World("a")
    cache = world.cache()
    got = await asyncio.gather(*(cache.get("a") for _ in range(100)))
    assert {secret.version for secret in got} == {"v1"}
    world.seconds += 110
    await asyncio.gather(*(cache.get("a") for _ in range(100)))
    await settle()
    assert world.reads["a"] == 2
    await cache.close()


async def test_a_caller_that_goes_away_leaves_the_read_to_the_others() -> None:
    """Its cancellation is its own."""
    world = World("a")
    world.gate = asyncio.Event()
    cache = world.cache()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await settle()
    first.cancel()
    await settle()
    world.gate.set()
    assert (await second).version == "v1"
    assert world.reads["a"] == 1
    await cache.close()


async def test_the_value_is_refreshed_behind_the_caller() -> None:
    """Who asks first gets the old one at once, the next one the new."""
    world = World("a")
    cache = world.cache()
    await cache.get("a")
    world.rotate("a")
    world.seconds += 110
    assert (await cache.get("a")).version == "v1"
    await settle()
    assert (await cache.get("a")).version == "v2"
    await cache.close()


async def test_an_expired_value_waits_for_the_new_one_but_not_for_long() -> None:
    """Within the patience the new one, else the old one; the next caller doesn't wait a second time."""
    world = World("a")
    cache = world.cache()
    await cache.get("a")
    world.rotate("a")
    world.seconds += 200
    assert (await cache.get("a")).version == "v2"
    world.rotate("a")
    world.gate = asyncio.Event()
    world.seconds += 200
    started = time.monotonic()
    assert (await cache.get("a")).version == "v2"
    assert POLICY.patience * 0.9 <= time.monotonic() - started < POLICY.timeout
    world.seconds += POLICY.patience
    started = time.monotonic()
    assert (await cache.get("a")).version == "v2"
    assert time.monotonic() - started < POLICY.patience / 2
    await cache.close()


async def test_a_hanging_vault_is_a_typed_error_after_the_time_out() -> None:
    """Where nothing is held; then at once, until it is time for another try."""
    world = World("a")
    world.gate = asyncio.Event()
    cache = world.cache()
    started = time.monotonic()
    with pytest.raises(VaultUnavailable, match=r"'a': no answer within 0\.2 s"):
        await cache.get("a")
    assert time.monotonic() - started < 5 * POLICY.timeout
    with pytest.raises(VaultUnavailable):
        await cache.get("a")
    assert world.reads["a"] == 1
    await cache.close()


async def test_what_is_held_outlives_the_vault_up_to_the_stale_bound() -> None:
    """Then it fails, and comes back with the vault."""
    world = World("a")
    cache = world.cache()
    await cache.get("a")
    world.failing = UNAVAILABLE
    for _ in range(9):
        world.seconds += 110
        assert (await cache.get("a")).version == "v1"
        await settle()
    world.seconds += 110
    with pytest.raises(VaultUnavailable):
        await cache.get("a")
    world.failing = None
    world.seconds += POLICY.last_retry
    assert (await cache.get("a")).version == "v1"
    await cache.close()


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "ä", "a" * 128, "../keys", "a?b", "secret:a", "a\n"])
async def test_what_is_no_name_is_not_sent_to_the_vault(name: str) -> None:
    """Nor told: it may be a value by mistake."""
    world = World("a")
    cache = world.cache()
    for ask in (cache.get, cache.both):
        with pytest.raises(UnknownSecret) as caught:
            await ask(name)
        assert not name or name not in str(caught.value)
    assert not world.reads


async def test_an_unknown_secret_is_asked_for_once_in_a_while() -> None:
    """And found when it is made."""
    world = World()
    cache = world.cache()
    for _ in range(5):
        with pytest.raises(UnknownSecret):
            await cache.get("a")
    assert world.reads["a"] == 1
    world.rotate("a")
    world.seconds += POLICY.negative
    assert (await cache.get("a")).version == "v1"
    await cache.close()


async def test_an_expired_secret_is_not_used() -> None:
    """Key Vault hands it out; neither fresh, nor when its time comes while it is held."""
    world = World()
    cache = world.cache()
    world.rotate("a", expires=world.now() - timedelta(seconds=1))
    with pytest.raises(SecretExpired):
        await cache.get("a")
    world.rotate("b", expires=world.now() + timedelta(seconds=30))
    assert (await cache.get("b")).version == "v1"
    world.seconds += 30
    with pytest.raises(SecretExpired):
        await cache.get("b")
    world.rotate("b")
    assert await cache.changed("b")
    assert (await cache.get("b")).version == "v2"
    await cache.close()


async def test_a_version_can_be_pinned() -> None:
    """It stays when there is a new one."""
    world = World("a")
    world.rotate("a")
    cache = world.cache()
    assert (await cache.get("a/v1")).version == "v1"
    assert (await cache.get("a")).version == "v2"
    with pytest.raises(UnknownSecret):
        await cache.get("a/v9")
    await cache.close()


async def test_a_change_is_read_at_once_where_the_secret_is_entries() -> None:
    """And nowhere else."""
    world = World("a", "b")
    cache = world.cache()
    assert not await cache.changed("b")
    await cache.get("a")
    world.rotate("a")
    assert await cache.changed("a")
    assert (await cache.get("a")).version == "v2"
    assert world.reads == {"a": 2}
    await cache.close()


async def test_a_change_during_a_read_is_not_missed() -> None:
    """The read may have begun before the change."""
    world = World("a")
    cache = world.cache()
    await cache.get("a")
    world.seconds += 110
    world.gate = asyncio.Event()
    await cache.get("a")  # refreshes in the background, and hangs
    await settle()
    changing = asyncio.create_task(cache.changed("a"))
    await settle()
    world.gate.set()
    assert await changing
    assert world.reads["a"] == 3
    await cache.close()


async def test_secrets_are_preloaded_a_few_at_a_time() -> None:
    """Begun by the first read; one that can't be had holds nothing up."""
    names = [f"a{number}" for number in range(40)]
    world = World(*names)
    cache = world.cache(*names, "missing")
    assert not world.reads
    await cache.get("a0")
    for _ in range(60):
        await settle()
    assert set(world.reads) == {*names, "missing"}
    assert world.most_at_once <= 9
    await cache.close()


async def test_entries_are_bounded() -> None:
    """Whatever names are asked for, the refused ones go first."""
    world = World("a")
    cache = world.cache()
    await cache.get("a")
    for number in range(1_200):
        with pytest.raises(UnknownSecret):
            await cache.get(f"unknown-{number}")
    assert len(cache._entries) == 1_000
    assert (await cache.get("a")).version == "v1"
    assert world.reads["a"] == 1
    await cache.close()


async def test_both_versions_are_offered_current_first() -> None:
    """For as long as they overlap."""
    world = World("a")
    cache = world.cache()
    assert [one.version for one in await cache.both("a")] == ["v1"]
    world.seconds += 5
    world.rotate("a")
    await cache.changed("a")
    assert [one.version for one in await cache.both("a")] == ["v2", "v1"]
    world.seconds += POLICY.overlap + 1
    assert [one.version for one in await cache.both("a")] == ["v2"]
    await cache.close()


async def test_the_previous_version_is_found_in_the_history() -> None:
    """By an instance that starts after the rotation; one that is disabled or expired isn't offered."""
    world = World("a")
    world.rotate("b")
    world.seconds += 5
    world.rotate("a")
    world.seconds += 5
    world.rotate("a")
    assert [one.version for one in await world.cache().both("a")] == ["v3", "v2"]
    world.disabled.add("v2")
    assert [one.version for one in await world.cache().both("a")] == ["v3", "v1"]
    world.disabled.add("v1")
    assert [one.version for one in await world.cache().both("a")] == ["v3"]


async def test_of_two_versions_of_one_second_the_one_in_use_is_the_previous() -> None:
    """The vault tells whole seconds."""
    world = World("a")
    cache = world.cache()
    await cache.both("a")
    world.rotate("a")
    await cache.changed("a")
    assert [one.version for one in await cache.both("a")] == ["v2", "v1"]
    world.rotate("a")
    await cache.changed("a")
    assert [one.version for one in await cache.both("a")] == ["v3", "v2"]
    await cache.close()


async def test_the_previous_version_is_kept_where_the_history_cannot_be_read() -> None:
    """It was held as the current one."""
    world = World("a")
    cache = world.cache()
    await cache.both("a")
    world.seconds += 5
    world.rotate("a")
    world.lists_failing = UNAVAILABLE
    await cache.changed("a")
    assert [one.version for one in await cache.both("a")] == ["v2", "v1"]
    with pytest.raises(VaultUnavailable):
        await world.cache().both("a")
    await cache.close()


async def test_a_new_version_signs_only_when_every_instance_knows_it() -> None:
    """Until then the previous one does; without one, the new one at once."""
    world = World("a")
    cache = world.cache()
    assert (await cache.signing("a")).version == "v1"
    world.seconds += 5
    world.rotate("a")
    await cache.changed("a")
    assert (await cache.signing("a")).version == "v1"
    world.seconds += POLICY.settling
    assert (await cache.signing("a")).version == "v2"
    await cache.close()


async def test_the_other_regions_older_copy_does_not_replace_what_is_entries() -> None:
    """It may be behind."""
    world = World("a")
    cache = world.cache()
    world.seconds += 5
    world.rotate("a")
    await cache.get("a")
    world.kept["a"] = [replace(world.kept["a"][0], vault="two")]
    world.seconds += 200
    assert (await cache.get("a")).version == "v2"
    await cache.close()


async def test_no_value_is_told_by_accident(caplog: pytest.LogCaptureFixture) -> None:
    """In reprs, errors and logs; and it isn't pickled."""
    caplog.set_level(logging.DEBUG)
    world = World("a")
    cache = world.cache()
    secret = await cache.get("a")
    both = await cache.both("a")

    class Leaky(RuntimeError):
        """What a library might raise."""

    async def leak(name: str, version: str | None) -> Any:
        raise Leaky(f"could not parse {secret.value}")

    world.read = leak  # type: ignore[method-assign]
    with pytest.raises(VaultUnavailable) as caught:
        await cache.get("b")
    assert "Leaky" in str(caught.value)
    told = [repr(secret), str(both), f"{secret}", str(caught.value), repr(caught.value.__context__), caplog.text]
    assert not [text for text in told if VALUE in text]
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="value would leave"):
            leave(secret)
    await cache.close()


async def test_closing_stops_what_is_being_read() -> None:
    """Whoever waits gets an error of the right type; what is held can still be had."""
    world = World("a", "b")
    cache = world.cache()
    await cache.get("a")
    world.gate = asyncio.Event()
    waiting = asyncio.create_task(cache.get("b"))
    await settle()
    await cache.close()
    with pytest.raises(VaultUnavailable):
        await waiting
    world.seconds += 110
    assert (await cache.get("a")).version == "v1"
    with pytest.raises(VaultUnavailable, match="closing"):
        await cache.get("c")


async def test_a_switched_off_secret_is_not_served_after_the_read_that_says_so() -> None:
    """Not even to the caller who waited for it."""
    world = World("a")
    cache = world.cache(policy=Policy(ttl=100, patience=1, timeout=2))
    await cache.get("a")
    world.failing = SecretDisabled("a", "is disabled")
    world.seconds += 200
    with pytest.raises(SecretDisabled):
        await cache.get("a")
    await cache.close()
