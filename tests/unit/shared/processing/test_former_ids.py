"""A CloudEvent whose id is a UUID, across the deployment that gave it another message id: a repeat stays a repeat."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.messages import Delivery
from shared.state import inbox_key
from shared.tables import Entity

from .world import World, delivery

FORMER, DERIVED, OTHER = 1, 2, 3
ITEM = "item"


def former(amount: int = 5, source: str = "/shop") -> Delivery:
    """The event as the release before sends it: under its own id."""
    return delivery(FORMER, ITEM, amount=amount, with_headers={"source": source})


def derived(amount: int = 5, source: str = "/shop", number: int = DERIVED) -> Delivery:
    """The event as it is sent now: under an id from source and id."""
    return delivery(number, ITEM, amount=amount, with_headers={"source": source, "former_id": UUID(int=FORMER)})


def forget(world: World, *columns: str) -> None:
    """Leave the record as the release before would have: without some columns."""
    ((place, row),) = [one for one in world.state.table.rows.items() if one[0][1] == inbox_key(UUID(int=FORMER))]
    world.state.table.rows[place] = Entity({name: row[name] for name in row if name not in columns}, row.etag)


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("old_row", [True, False])
async def test_a_repeat_after_the_deployment_does_nothing(buckets: int, old_row: bool) -> None:
    """The record lies under the event's own id, in the form of either release."""
    world = World(buckets=buckets)
    await world.process(former())
    if old_row:
        forget(world, "source", "payloadHash")
    await World(state=world.state).process(derived())
    assert world.stock(ITEM) == {"total": 5, "moves": [5]}
    assert world.status(DERIVED) is None
    assert world.dead.letters == {}


@pytest.mark.parametrize("together", [True, False])
async def test_a_repeat_through_the_release_before_does_nothing(together: bool) -> None:
    """It finds a record under the id that it knows, also where both come in one batch."""
    world = World()
    if together:
        await world.process(derived(), former())
    else:
        await world.process(derived())
        await World(state=world.state).process(former())
    assert world.stock(ITEM) == {"total": 5, "moves": [5]}
    row = world.state.inbox(UUID(int=FORMER))
    assert row is not None
    assert (row["status"], row["aliasOf"], row["source"]) == ("done", str(UUID(int=DERIVED)), "/shop")
    assert {"payloadSha256", "key", "processedAt"} <= row.keys()


async def test_one_id_of_two_sources_are_two_events() -> None:
    """As CloudEvents has it; neither hides the other, in whatever order they come and come again."""
    world = World()
    for _ in range(2):
        await world.process(derived(1), derived(2, source="/other", number=OTHER))
    assert world.stock(ITEM) == {"total": 3, "moves": [1, 2]}
    assert world.dead.letters == {}


async def test_a_message_with_the_id_of_another_source_s_event_is_done() -> None:
    """A native message keeps `inbox:<messageId>`; it takes the place of the record that stands for the event."""
    world = World()
    await world.process(derived(1))
    for _ in range(2):
        await world.process(former(2, source="/native"))
        await world.process(derived(1))
    assert world.stock(ITEM) == {"total": 3, "moves": [1, 2]}
    row = world.state.inbox(UUID(int=FORMER))
    assert row is not None
    assert (row["source"], "aliasOf" in row) == ("/native", False)
    assert world.dead.letters == {}


async def test_an_event_with_the_id_of_another_source_s_message_is_done() -> None:
    """The message's record stays what it is."""
    world = World()
    await world.process(former(2, source="/native"))
    await world.process(derived(2))
    await world.process(derived(2))
    assert world.stock(ITEM) == {"total": 4, "moves": [2, 2]}


async def test_another_payload_under_one_source_and_id_is_a_conflict_still() -> None:
    """Whichever release did the first one, as far as its record says whose event it was."""
    world = World()
    await world.process(former(1))
    await world.process(derived(2))
    await world.process(derived(3, source="/new", number=OTHER))
    await world.process(derived(4, source="/new", number=OTHER))
    assert world.stock(ITEM) == {"total": 4, "moves": [1, 3]}
    assert [letter.code for letter in world.dead.letters.values()] == ["MESSAGE_ID_CONFLICT"] * 2
