"""Rotation by events: once, on record, without a value told; repeated, late and forged ones change nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import pytest

from shared.rotation import RotationFailed, random_key
from shared.secrets import Secret, VaultUnavailable
from tests.unit.shared.secrets.world import VALUE

from .world import OVERLAP, Rotating


async def test_near_its_expiry_a_secret_gets_its_next_version() -> None:
    """Random, of the same life, known here at once; the one before stays valid; all of it on record."""
    rotating = Rotating(random_key())
    assert len(await rotating.cache.both("hmac-key")) == 1
    rotating.world.seconds += 5
    assert await rotating.events.take(rotating.event()) == "rotated"
    old, new = rotating.world.kept["hmac-key"]
    assert len(new.value) >= 43
    assert new.expires is not None
    assert new.expires - new.created == timedelta(days=20)
    assert [one.version for one in await rotating.cache.both("hmac-key")] == ["v2", "v1"]
    assert rotating.world.disabled == set()
    record = rotating.audit.records["hmac-key", "v1"]
    assert (record["outcome"], record["toVersion"], record["actor"]) == ("rotated", "v2", "an-identity")
    assert "SecretNearExpiry" in record["because"]
    assert old.value not in str(record)
    assert new.value not in str(record)
    assert not rotating.lease.taken


async def test_the_same_word_twice_rotates_once() -> None:
    """Repeated here, or brought to an instance that doesn't remember it, or after the expiry too."""
    rotating = Rotating(random_key())
    outcomes = [
        await rotating.events.take(rotating.event()),
        await rotating.events.take(rotating.event()),
        await rotating.events.take(rotating.event(id="another")),
        await rotating.events.take(rotating.event("SecretExpired")),
    ]
    assert outcomes == ["rotated", "repeated", "rotated before", "rotated before"]
    assert len(rotating.world.kept["hmac-key"]) == 2
    assert rotating.events.counts == {"rotated": 1, "repeated": 1, "rotated before": 2}


async def test_a_secret_that_is_not_near_its_expiry_is_left_alone() -> None:
    """Whatever an event says: a forged one could rotate at will."""
    rotating = Rotating(random_key())
    rotating.world.rotate("hmac-key", expires=rotating.world.now() + timedelta(days=90))
    assert await rotating.events.take(rotating.event(version="v2")) == "not near its expiry"
    rotating.world.rotate("hmac-key")
    assert await rotating.events.take(rotating.event(version="v3")) == "not near its expiry"
    assert rotating.audit.records == {}


async def test_without_a_way_to_renew_it_nothing_is_done() -> None:
    """Its owner does it."""
    rotating = Rotating()
    assert await rotating.events.take(rotating.event()) == "not registered"
    await rotating.cache.get("hmac-key")
    assert await rotating.events.take(rotating.event("SecretExpired")) == "read anew"


async def test_one_instance_does_it() -> None:
    """The event comes again to the other."""
    rotating = Rotating(random_key())
    rotating.lease.taken = True
    with pytest.raises(RotationFailed, match="another instance"):
        await rotating.events.take(rotating.event())
    rotating.lease.taken = False
    assert await rotating.events.take(rotating.event()) == "rotated"


async def test_what_fails_leaves_the_secret_as_it_was_and_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    """The lease is free, the record says so, and nothing of a value is told."""
    caplog.set_level(logging.DEBUG)

    async def renew(current: Secret) -> str:
        raise RuntimeError(f"the partner refused {current.value}")

    rotating = Rotating(renew)
    with pytest.raises(RotationFailed, match="RuntimeError") as caught:
        await rotating.events.take(rotating.event())
    assert len(rotating.world.kept["hmac-key"]) == 1
    record = rotating.audit.records["hmac-key", "v1"]
    assert record["outcome"] == "failed"
    told = [str(caught.value), str(caught.value.__cause__), caplog.text, str(record)]
    assert not [text for text in told if VALUE in text]
    assert not rotating.lease.taken


@pytest.mark.parametrize("value", ["", "x" * 25_001, f"{VALUE}-hmac-key-1", None])
async def test_what_is_no_new_value_is_not_stored(value: str) -> None:
    """Empty, larger than the vault takes, or the same again."""

    async def renew(current: Secret) -> str:
        return value

    rotating = Rotating(renew)
    with pytest.raises(RotationFailed, match="no new value"):
        await rotating.events.take(rotating.event())
    assert len(rotating.world.kept["hmac-key"]) == 1


async def test_a_version_that_reads_differently_is_switched_off() -> None:
    """Nobody could check what was signed with it."""
    rotating = Rotating(random_key())
    rotating.store.garbles = True
    with pytest.raises(RotationFailed, match="read back"):
        await rotating.events.take(rotating.event())
    assert rotating.world.disabled == {"v2"}


async def test_a_vault_that_fails_is_told_as_that() -> None:
    """And the event comes again."""
    rotating = Rotating(random_key())
    rotating.store.failing = VaultUnavailable("hmac-key", "no answer")
    with pytest.raises(RotationFailed, match="no answer"):
        await rotating.events.take(rotating.event())
    rotating.store.failing = None
    assert await rotating.events.take(rotating.event()) == "rotated"


async def test_versions_are_switched_off_when_nobody_uses_them() -> None:
    """At the rotation after the next, and never within the overlap."""
    rotating = Rotating(random_key())
    world = rotating.world
    await rotating.events.take(rotating.event())
    for number in (2, 3):
        world.seconds += OVERLAP.total_seconds() + 1
        world.kept["hmac-key"][-1] = Secret(
            "hmac-key", f"value-{number}", f"v{number}", world.kept["hmac-key"][-1].created, world.now()
        )
        await rotating.events.take(rotating.event(version=f"v{number}"))
    assert world.disabled == {"v1", "v2"}


async def test_a_version_that_stays_on_keeps_no_other_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest can't be switched off; those after it are, and it is tried again."""
    rotating = Rotating(random_key())
    world = rotating.world
    whole = rotating.store.disable

    async def disable(name: str, version: str) -> None:
        if version == "v1":
            raise VaultUnavailable(name, "no answer")
        await whole(name, version)

    monkeypatch.setattr(rotating.store, "disable", disable)
    await rotating.events.take(rotating.event())
    for number in (2, 3, 4):
        world.seconds += OVERLAP.total_seconds() + 1
        if number == 4:
            monkeypatch.undo()
        created = world.kept["hmac-key"][-1].created
        world.kept["hmac-key"][-1] = Secret("hmac-key", f"value-{number}", f"v{number}", created, world.now())
        await rotating.events.take(rotating.event(version=f"v{number}"))
        assert world.disabled == {2: set(), 3: {"v2"}, 4: {"v1", "v2", "v3"}}[number]


async def test_a_new_version_is_read_at_once_where_the_secret_is_held() -> None:
    """Known ones, and what comes out of order, cost no read."""
    rotating = Rotating()
    event = rotating.event("SecretNewVersionCreated", "v1")
    assert await rotating.events.take(event) == "not cached"
    await rotating.cache.get("hmac-key")
    old = rotating.event("SecretNewVersionCreated", "v0", id="0")
    rotating.world.seconds += 5
    rotating.world.rotate("hmac-key")
    assert await rotating.events.take(rotating.event("SecretNewVersionCreated", "v2")) == "read anew"
    assert (await rotating.cache.get("hmac-key")).version == "v2"
    reads = rotating.world.reads["hmac-key"]
    assert await rotating.events.take(rotating.event("SecretNewVersionCreated", "v2", id="2")) == "known before"
    assert await rotating.events.take(old) == "out of order"
    assert rotating.world.reads["hmac-key"] == reads


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[" * 70_000, b'"x"', b"\xff", b"[1, 2]", b"{}"])
async def test_a_body_that_is_no_event_is_counted(body: bytes) -> None:
    """Nothing else happens."""
    rotating = Rotating(random_key())
    await rotating.events.take_body(body)
    assert set(rotating.events.counts) == {"refused"}


async def test_a_body_may_hold_several_events() -> None:
    """As Event Grid batches them."""
    rotating = Rotating(random_key())
    await rotating.events.take_body(json.dumps([rotating.event(), rotating.event(), 7]).encode())
    assert rotating.events.counts == {"rotated": 1, "repeated": 1, "refused": 1}


async def test_what_is_remembered_is_bounded() -> None:
    """However many events come."""
    rotating = Rotating()
    for number in range(2_100):
        await rotating.events.take(rotating.event("SecretNewVersionCreated", id=str(number)))
    assert len(rotating.events._seen) == 2_000


@pytest.mark.parametrize("size", [15, 1_025, True])
def test_a_key_is_neither_short_nor_endless(size: int) -> None:
    """Fewer bits could be guessed."""
    with pytest.raises(ValueError, match="size"):
        random_key(size)


async def test_keys_are_not_repeated() -> None:
    """Each is drawn anew."""
    renew = random_key()
    current = Rotating().world.kept["hmac-key"][0]
    assert len(set(await asyncio.gather(*(renew(current) for _ in range(100))))) == 100
