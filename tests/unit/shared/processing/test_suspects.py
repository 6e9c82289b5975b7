"""Messages whose deliveries keep failing run alone and last, and who dies of them is remembered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from shared.dead_letters import MOST_DEATHS, RETURNS, Suspects
from shared.messages import Delivery, Lane
from shared.processing import BatchFailed
from shared.tables import Upsert
from shared.telemetry import Metrics
from shared.telemetry.metrics import enable

from .world import World, delivery


def again(number: int, *, count: int = 3, behave: str = "well", lane: Lane = Lane.NORMAL, key: str = "") -> Delivery:
    """A message that was delivered before, in vain."""
    made = delivery(number, key or f"item-{number}", behave=behave, amount=number, with_headers={"lane": lane})
    return replace(made, delivery_count=count)


async def die(world: World, *deliveries: Delivery) -> None:
    """What is left behind by a worker that died while these ran."""
    for one in deliveries:
        suspects = Suspects(world.state)
        rows = dict(world.state.rows)
        async with suspects.running(one, await suspects.deaths(one)):
            noted = {place: row for place, row in world.state.rows.items() if place not in rows or row != rows[place]}
        for (bucket, _), row in noted.items():
            await world.state.commit(int(bucket), [Upsert(dict(row))])


async def leave(_: object) -> None:
    """To settle it is nobody's business here."""


def notes(world: World) -> list[str]:
    return [key for _, key in world.state.rows if key.startswith("suspect:")]


async def test_suspects_run_alone_after_the_others_are_settled() -> None:
    world = World(timeout=60)
    batch = [again(1, behave="waits"), delivery(2), delivery(3, behave="reject"), again(4)]
    running = asyncio.create_task(world.process(*batch))
    await world.waiting.wait()
    assert (world.status(2), world.status(3), world.status(4)) == ("done", "dead", None)
    assert len(notes(world)) == 1
    world.released.set()
    await running
    assert (world.status(1), world.status(4), notes(world)) == ("done", "done", [])


async def test_what_came_back_from_the_dead_letter_queue_is_a_suspect_at_once() -> None:
    world = World(concurrency=8)
    batch = [replace(one, properties={**one.properties, RETURNS: 1}) for one in (delivery(1), delivery(2), delivery(3))]
    await world.process(*batch)
    assert world.most_running == 1
    assert [world.status(number) for number in (1, 2, 3)] == ["done"] * 3


async def test_who_killed_a_worker_goes_last_and_after_two_deaths_never_again() -> None:
    world = World()
    killer, neighbour = again(1), again(2)
    await die(world, killer)
    await world.process(killer, neighbour)
    assert [item for item, _ in world.calls] == ["item-2", "item-1"]
    assert notes(world) == []

    other = again(3)
    for _ in range(MOST_DEATHS):
        await die(world, other)
    await world.process(other, again(4))
    assert world.reasons() == {str(UUID(int=3)): "WORKER_LOST"}
    assert (world.status(3), world.status(4), notes(world)) == ("dead", "done", [])
    assert "item-3" not in [item for item, _ in world.calls]


async def test_what_was_done_before_its_worker_died_is_no_dead_letter() -> None:
    world = World()
    await world.process(again(1))
    for _ in range(MOST_DEATHS):
        await die(world, again(1))
    await world.process(again(1))
    assert (world.status(1), world.reasons(), notes(world)) == ("done", {}, [])


async def test_the_ordered_lane_overtakes_nobody() -> None:
    """A message that killed a worker keeps its turn, and so do those that came with it for the first time."""
    world = World(in_order=True)
    first, second = (
        again(1, lane=Lane.ORDERED, key="a"),
        replace(again(2, lane=Lane.ORDERED, key="a"), delivery_count=1),
    )
    await die(world, first)
    await world.processor.process(Lane.ORDERED, [first, second])
    assert world.stock("a") == {"total": 3, "moves": [1, 2]}


async def test_storage_that_fails_accuses_nobody_while_the_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def away(*_: object) -> None:
        raise ConnectionError("storage is away")

    with monkeypatch.context() as failing:
        failing.setattr(world.state, "delete", away)
        for number in (1, 2, 3):
            await world.process(again(number))
    assert len(notes(world)) == 3
    assert [await world.suspects.deaths(again(number)) for number in (1, 2, 3)] == [0, 0, 0]
    assert [await Suspects(world.state).deaths(again(number)) for number in (1, 2, 3)] == [1, 1, 1]


async def test_a_run_that_is_stopped_from_outside_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch's time is over, or the app closes."""
    world = World()

    async def fail(*_: object) -> None:
        raise ConnectionError("storage is away")

    monkeypatch.setattr(world.processor._decoder, "read", fail)
    with pytest.raises(BatchFailed):
        await world.process(again(1))
    assert notes(world) == []


async def test_parked_messages_go_one_at_a_time_once_a_worker_died_of_them() -> None:
    """They are drained side by side: one death accuses them all, and two of one that ran alone convict it."""
    world = World(in_order=True)
    killer, neighbour = again(1, lane=Lane.ORDERED), again(2, lane=Lane.ORDERED)
    await die(world, killer, neighbour)
    await asyncio.gather(*(world.processor.take_turn(one, leave) for one in (killer, neighbour)))
    assert (world.most_running, notes(world)) == (1, [])
    for _ in range(MOST_DEATHS):
        await die(world, again(3, lane=Lane.ORDERED))
    ended = await world.processor.take_turn(again(3, lane=Lane.ORDERED), leave)
    assert "WORKER_LOST" in str(ended.outcome)
    assert "item-3" not in [item for item, _ in world.calls]


@pytest.mark.parametrize("lane", [Lane.NORMAL, Lane.ORDERED])
async def test_a_message_that_nobody_dares_to_run_is_counted_as_dead(lane: Lane) -> None:
    """The worst failure spends the lane's error budget as any other does: in a batch, and when its turn comes."""
    enable()
    try:
        world = World(in_order=lane is Lane.ORDERED)
        for number in (1, 2):
            for _ in range(MOST_DEATHS):
                await die(world, again(number, lane=lane))
        await world.processor.process(lane, [again(1, lane=lane)])
        await world.processor.take_turn(again(2, lane=lane), leave)
        counted = [(point.attributes["outcome"], point.value) for point in Metrics.messages_processed.points()]
        objective = [(point.attributes["met"], point.value) for point in Metrics.messages_objective.points()]
        assert (counted, objective) == ([("dead", 2)], [("no", 2)])
    finally:
        enable(False)
