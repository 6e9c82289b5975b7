"""Several events make one row, each applied once: redelivered, repeated, interrupted and by several instances."""

from __future__ import annotations

import asyncio

import pytest

from shared.messages import Contract, Integration, Registry
from shared.query import ReadModels
from shared.testing import project

from .world import POISON, Door, Killed, World, warehouse


class Seen(Contract):
    """An event."""

    item: str


@pytest.mark.parametrize("seed", range(25))
async def test_each_event_is_applied_once_whatever_is_redelivered_or_interrupted(seed: int) -> None:
    """A process dies at any request of its projection; what it had in hand comes again, to it or to another one."""
    world = World(seed, keys=4)
    doors = [Door(world.table) for _ in world.instances]
    for door, instance in zip(doors, world.instances, strict=True):
        instance.rows._table = door
    for _ in range(40):
        for _ in range(world.chance.randrange(6)):
            world.append()
        for door in doors:
            door.left = world.chance.randrange(60)
        try:
            await world.deliver()
        except Killed:
            continue
        except BaseExceptionGroup as several:  # of rows that were written side by side
            if several.split(Killed)[1] is not None:
                raise
    for door in doors:
        door.left = None
    await world.check()


async def test_the_first_event_does_not_bring_back_what_a_later_one_deleted() -> None:
    """It is redelivered alone."""
    world = World()
    world.append("item-0", 5)
    world.append("item-0", cleared=True)
    await world.deliver_all()
    await world.instances[0]._apply(world.log.events["0"][:1])
    await world.check()
    world.append("item-0", 3)
    await world.deliver_all()
    await world.check()
    assert world.tally == {"item-0": (3, 1)}
    assert not [key for _, key in world.table.rows if key.startswith("%3A%3D")]


async def test_two_instances_apply_one_batch_at_once() -> None:
    """One of them finds everything done."""
    world = World()
    for number in range(30):
        world.append("item-0", number)
    batch = world.log.events["0"]
    await asyncio.gather(*(instance._apply(batch) for instance in world.instances))
    world.delivered["0"] = 30
    await world.check()


async def test_an_event_that_cannot_be_applied_is_dead_lettered_alone() -> None:
    """The others of its key, before and after it, are applied."""
    world = World()
    for count in (1, POISON, 2):
        world.append("item-0", count)
    await world.deliver_all()
    await world.check()
    assert {letter.code for letter in world.dead.letters.values()} == {"PROJECTION_ERROR"}
    assert world.tally == {"item-0": (3, 2)}


def test_a_projection_that_takes_the_row_says_which_one() -> None:
    """Without the annotations nobody could read it."""
    made = Integration("made")
    with pytest.raises(TypeError, match="annotate its second parameter"):

        @made.projects("seen", into="views")
        def untold(event: Seen, row) -> Seen:  # type: ignore[no-untyped-def]
            return event

    @made.projects("seen", into="views")
    def told(event: Seen, row: Seen | None) -> Seen | None:
        return event if row is None else None

    @made.projects("other", into="views")
    def other(event: Seen) -> Contract:
        return event

    with pytest.raises(ValueError, match="all of them say that they return the same model"):
        Registry([made])


def test_the_testing_kit_gives_the_row_so_far() -> None:
    """And None for a row that is deleted."""
    rows = project(warehouse(), "stock.counted", {"item": "a", "count": 2})
    assert rows["tally"] is not None
    again = project(warehouse(), "stock.counted", {"item": "a", "count": 3}, before={"tally": rows["tally"]})["tally"]
    assert again is not None
    assert again.model_dump() == {"item": "a", "total": 5, "counts": 2, "shelf": "A"}
    assert project(warehouse(), "stock.cleared", {"item": "a"}, before={"tally": again}) == {"tally": None}


async def test_rows_of_a_release_without_versions_are_where_they_were() -> None:
    """Version 1 lies under the view's own name."""
    world = World()
    world.append("item-0", 5)
    await world.deliver_all()
    assert await ReadModels(world.table).get("stock", "item-0") is not None
