"""Protected fields leave a unit of work encrypted, each for its own place, and come back in clear."""

from __future__ import annotations

import pytest

from shared.encryption import ProtectionError
from shared.messages import CloudEvent, OutgoingCommand
from shared.privacy import FieldProtection
from shared.state import outbox_key, state_key, unpack
from shared.tables import Entity
from shared.work import Aggregate
from tests.unit.memory import MemoryState
from tests.unit.shared.encryption.vault import World as Keys

from .test_work import addressed
from .world import MemoryValues, Person, Stock, commit, work

ADA = Person(full_name="Ada Lovelace", visits=3)


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


@pytest.fixture
def fields() -> FieldProtection:
    """With keys that came from a vault."""
    keys = Keys()
    return FieldProtection(keys.data_keys(), keys.subject_keys(), None)


def row(store: MemoryState, row_key: str) -> Entity:
    """What is stored under a row key."""
    (found,) = [each for (_, key), each in store.rows.items() if key == row_key]
    return found


async def test_state_is_encrypted_at_rest_for_its_kind_and_key(store: MemoryState, fields: FieldProtection) -> None:
    """What is stored under one kind can't be read as another."""
    unit = work(store, fields=fields)
    await unit.save("person", "A", ADA)
    await unit.save("friend", "A", ADA)
    await commit(store, unit)
    text = unpack(row(store, state_key("person", "A")))
    assert ADA.full_name not in text
    assert '"visits":3' in text
    assert await fields.decrypt(text, Person, ("state", "person", "A")) == ADA.model_dump_json(by_alias=True)
    assert await work(store, 2, fields=fields).load("person", "A", Person) == ADA

    row(store, state_key("person", "A"))["value"] = row(store, state_key("friend", "A"))["value"]
    with pytest.raises(ProtectionError):
        await work(store, 3, fields=fields).load("person", "A", Person)


async def test_a_large_value_is_encrypted_as_well(store: MemoryState, fields: FieldProtection) -> None:
    """In its blob."""
    values, ada = MemoryValues(), ADA.model_copy(update={"full_name": "Ada Lovelace " * 100_000})
    unit = work(store, fields=fields, values=values)
    await unit.save("person", "A", ada)
    await commit(store, unit)
    (text,) = values.texts.values()
    assert "Ada Lovelace" not in text
    assert await work(store, 2, fields=fields, values=values).load("person", "A", Person) == ada


async def test_encrypted_state_is_refused_by_an_app_that_has_lost_its_keys(
    store: MemoryState, fields: FieldProtection
) -> None:
    """The ciphertext would otherwise pass for a name."""
    unit = work(store, fields=fields)
    await unit.save("person", "A", ADA)
    await commit(store, unit)
    with pytest.raises(ProtectionError, match="no keys are configured"):
        await work(store, 2).load("person", "A", Person)


async def test_nothing_can_be_committed_before_it_is_encrypted(store: MemoryState, fields: FieldProtection) -> None:
    """Neither an event with a protected field nor a command, which may hold anything."""
    for emit in ("event", "command"):
        unit = work(store, fields=fields, address=addressed)
        if emit == "event":
            unit.publish("person.seen", ADA)
        else:
            unit.send("stock.check", Stock(count=5))
        with pytest.raises(LookupError, match=r"^what was emitted isn't encrypted yet$"):
            unit.operations()
        await unit.encrypt()
        assert len(unit.operations()) == 3


async def test_events_and_commands_are_encrypted_for_their_own_place(
    store: MemoryState, fields: FieldProtection
) -> None:
    """An event field by field for its consumers, a command whole for the outbox; what protects nothing stays clear."""
    unit = work(store, fields=fields, address=addressed, aggregate=Aggregate(sequence=6, events=6))
    unit.publish("stock.counted", Stock(count=1, last_move="m"))
    unit.send("stock.check", Stock(count=5))
    unit.publish("person.seen", ADA)
    in_clear = unit.emitted[1]
    assert isinstance(in_clear, OutgoingCommand)
    assert unit.events[-1].data == "null", "no part of it is in clear meanwhile"
    await unit.encrypt()
    await commit(store, unit)
    rows = [row(store, outbox_key("A", number)) for number in (7, 8, 9)]

    plain = CloudEvent.from_json(unpack(rows[0]).encode())
    assert Stock.model_validate_json(plain.data) == Stock(count=1, last_move="m")

    command = await fields.decrypt_whole(unpack(rows[1]), ("outbox", rows[1]["RowKey"]))
    assert command != unpack(rows[1])
    assert OutgoingCommand.from_json(command) == in_clear

    event = CloudEvent.from_json(unpack(rows[2]).encode())
    assert ADA.full_name not in event.data
    text = await fields.decrypt(event.data, Person, ("event", event.id, "person.seen"))
    assert text == ADA.model_dump_json(by_alias=True)
    assert event.sequence == 8


async def test_encrypting_twice_changes_nothing(store: MemoryState, fields: FieldProtection) -> None:
    """And nothing is to be done where nothing needs it, or where there are no keys."""
    unit = work(store, fields=fields)
    unit.publish("person.seen", ADA)
    await unit.encrypt()
    once = unit.outbox_rows()
    await unit.encrypt()
    assert unit.outbox_rows() is once
    plain = work(store)
    plain.publish("person.seen", ADA)
    await plain.encrypt()
    assert plain.events[0].data == ADA.model_dump_json(by_alias=True)
