"""Subjects' keys: one each, and none after an erasure."""

from __future__ import annotations

import asyncio

import pytest

from shared.encryption import ERASED, Erased, Keyring, KeysUnavailable, UnknownKey, encrypt, encrypt_text

from .vault import World

SUBJECT = "tok_abc"


async def test_a_subject_has_one_key_whoever_asks() -> None:
    """Made once, on whichever instance, also at the same time."""
    world = World()
    instances = [world.subject_keys() for _ in range(5)]
    keys = await asyncio.gather(*(one.key_for(SUBJECT) for one in instances for _ in range(3)))
    assert len({key.id for key in keys}) == 1
    other = await instances[0].key_for("tok_other")
    assert other.id.startswith("tok_other~")


async def test_finding_makes_none() -> None:
    """Reading never writes."""
    world = World()
    assert await world.subject_keys().find(SUBJECT) is None
    assert [row async for row in world.rows.every()] == []


async def test_an_erasure_is_effective_everywhere_within_its_time() -> None:
    """At once where it was done, within a minute elsewhere."""
    world = World()
    here, there = world.subject_keys(), world.subject_keys()
    key = await here.key_for(SUBJECT)
    await there.key_for(SUBJECT)
    done = await here.erase(SUBJECT, by="ada", reason="asked for it")
    assert done is not None
    assert done.key_id == key.id
    assert here.peek(key.id) is None
    with pytest.raises(Erased):
        await here.get(key.id)
    world.clock.move(60)
    with pytest.raises(Erased):
        await there.get(key.id)


async def test_what_is_encrypted_after_an_erasure_has_a_new_key() -> None:
    """And the old data stays closed."""
    world = World()
    keys = world.subject_keys()
    old = await keys.key_for(SUBJECT)
    await keys.erase(SUBJECT, by="ada", reason="asked for it")
    new = await keys.key_for(SUBJECT)
    assert new.id != old.id
    with pytest.raises(Erased):
        await keys.get(old.id)
    assert await keys.get(new.id) is new


async def test_an_erasure_leaves_who_and_why_and_no_key() -> None:
    """Nothing of the key and nothing plain about the subject."""
    world = World()
    keys = world.subject_keys()
    await keys.key_for(SUBJECT)
    await keys.erase(SUBJECT, by="ada", reason="asked for it")
    rows = {row.row.partition(":")[0]: dict(row.columns) async for row in world.rows.every()}
    assert set(rows) == {"erased", "audit"}
    assert set(rows["erased"]) == {"erasedAt"}
    assert rows["audit"]["by"] == "ada"
    assert rows["audit"]["reason"] == "asked for it"
    assert await keys.erase(SUBJECT, by="ada", reason="again") is None


async def test_erasing_while_others_erase_and_make_is_harmless() -> None:
    """One erasure wins; whoever needs a key afterwards gets a new one."""
    world = World()
    instances = [world.subject_keys() for _ in range(4)]
    first = await instances[0].key_for(SUBJECT)
    done = await asyncio.gather(*(one.erase(SUBJECT, by="ada", reason="asked") for one in instances))
    assert len([one for one in done if one is not None]) == 1
    assert (await instances[1].key_for(SUBJECT)).id != first.id


async def test_a_vault_that_is_away_is_not_asked_for_what_is_known() -> None:
    """Only the table is looked at again; without it nothing old is handed out."""
    world = World()
    keys = world.subject_keys()
    key = await keys.key_for(SUBJECT)
    world.secrets.away = True
    world.clock.move(61)
    assert keys.peek(key.id) is None
    assert await keys.get(key.id) is key
    with pytest.raises(KeysUnavailable):
        await keys.key_for("tok_new")


async def test_an_earlier_token_of_a_subject_finds_its_key() -> None:
    """After the token key was rotated, so that an erasure finds all there is."""
    world = World()
    keys = world.subject_keys()
    old = await keys.key_for("tok_old")
    assert await keys.key_for("tok_new", formerly=["tok_old"]) is old


@pytest.mark.parametrize("key_id", ["tok_abc~00000000", "tok_abc~", "~", "", "tok_abc~a/b", "a b~00"])
async def test_an_id_that_never_was_is_unknown(key_id: str) -> None:
    """Not erased."""
    with pytest.raises(UnknownKey):
        await World().subject_keys().get(key_id)


async def test_memory_is_bounded() -> None:
    """The subject that was used least lately goes first."""
    keys = World().subject_keys(capacity=2)
    for subject in ("a", "b", "c"):
        await keys.key_for(subject)
    assert [keys.peek_for(subject) is not None for subject in ("a", "b", "c")] == [False, True, True]


async def test_a_plain_name_of_a_subject_is_refused() -> None:
    """A token is short and has no spaces, so most plain values fail here."""
    with pytest.raises(ValueError, match="token"):
        await World().subject_keys().key_for("Ada Lovelace")


async def test_a_keyring_opens_whatever_was_sealed() -> None:
    """Under the app's key or under a subject's, as the header says."""
    world = World()
    data_keys, subject_keys = world.data_keys(), world.subject_keys()
    keyring = Keyring(data_keys, subject_keys)
    subject = await subject_keys.key_for(SUBJECT)
    assert await keyring.decrypt(encrypt(await data_keys.current(), b"a", aad=b"1"), aad=b"1") == b"a"
    text = encrypt_text(subject, "b", aad=b"2")
    assert await keyring.decrypt_text(text, aad=b"2") == "b"
    await subject_keys.erase(SUBJECT, by="ada", reason="asked for it")
    with pytest.raises(Erased):
        await keyring.decrypt_text(text, aad=b"2")


async def test_when_a_subject_was_erased_is_known_everywhere_within_its_time() -> None:
    """Also of one that had no key, and of one that has a new key by now."""
    world = World()
    here, there = world.subject_keys(), world.subject_keys()
    await there.key_for(SUBJECT)
    assert await there.erased_at(SUBJECT) is None
    done = await here.erase(SUBJECT, by="ada", reason="asked for it")
    assert done is not None
    assert await here.erased_at(SUBJECT) == done.at
    world.clock.move(60)
    assert await there.erased_at(SUBJECT) == done.at
    await there.key_for(SUBJECT)
    assert await there.erased_at(SUBJECT) == done.at

    await here.note_erasure("tok_other", by="ada", reason="asked for it")
    assert await there.erased_at("tok_other") == world.clock.moment
    assert await there.find("tok_other") is None


async def test_what_stands_for_an_erased_value_is_one_to_every_reader() -> None:
    """Whatever version it has: the key that it names has the traces of an erasure."""
    world = World()
    await world.subject_keys().ensure_erased_key()
    await world.subject_keys().ensure_erased_key()
    with pytest.raises(Erased):
        await world.subject_keys().get(ERASED)
