"""A view is made anew beside the live one: whatever happens meanwhile, nobody reads an old row or misses one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from shared.messages import Integration, Registry
from shared.query import indexes_of
from shared.streams import StreamEvent
from shared.views import CannotRebuild, Stage, Step, feed

from .world import POISON, Cleared, Counted, Door, Killed, Tally, World, beside


@pytest.mark.parametrize("seed", range(12))
async def test_a_rebuild_beside_live_traffic_loses_nothing_however_often_it_is_killed(seed: int) -> None:
    """Killed at any request and begun again by another process; live events go on between any two of its requests."""
    world = World(seed)
    for _ in range(120):
        world.append()
    await world.deliver_all()
    for view in ("stock", "tally"):
        door = Door(world.table)
        async with beside(world, door):
            await world.rebuilder(door).ask(view)
            while True:
                door.left = world.chance.randrange(5, 400)
                try:
                    if await world.rebuilder(door).run(view, lambda: world.chance.random() - 0.2) is Step.DONE:
                        break
                except Killed:
                    world.seconds += 61  # its lease
        found = await world.instances[0].versions.now(view)
        assert (found.live, found.other, found.stage) == (2, 1, Stage.KEPT)
        assert found.report["missing"] == found.report["older"] == 0
    await world.check_reads()
    await world.check()
    for view in ("stock", "tally"):  # and back, with events between
        door = Door(world.table)
        async with beside(world, door):
            await world.rebuilder(door).roll_back(view, time_left=lambda: 100.0)
    await world.sleep(30)
    await world.check_reads()
    await world.check()
    world.seconds += 90_000
    while await world.rebuilder().run_all(lambda: 100.0):
        pass
    await world.sleep(30)
    await world.check()
    assert not [place for place, _ in world.table.rows if "@2" in place]


async def test_two_processes_do_not_work_on_one_view_at_once() -> None:
    """The second one is told so, until the first one's lease has run out."""
    world = World()
    world.append()
    await world.deliver_all()
    first = Door(world.table)
    await world.rebuilder(first).ask("stock")
    first.left = 8
    with pytest.raises(Killed):
        await world.rebuilder(first).run("stock", lambda: 100.0)
    assert await world.rebuilder().run("stock", lambda: 100.0) is Step.BUSY
    world.seconds += 61
    assert await world.rebuilder().run("stock", lambda: 100.0) is Step.DONE


async def test_events_that_are_gone_keep_it_from_being_served_unless_that_is_accepted() -> None:
    """It is said by partition from which number on it is whole."""
    world = World()
    for _ in range(60):
        world.append()
    await world.deliver_all()
    world.log.expire(10, partition="0")
    assert await world.rebuild("tally") is Step.DIFFERS
    found = await world.instances[0].versions.now("tally")
    assert (found.live, found.stage, found.missing) == (1, Stage.DIFFERS, {"0": 10})
    assert await world.rebuild("tally", accept=True) is Step.DONE
    assert (await world.instances[0].versions.now("tally")).live == 2


class Files:
    """Bronze: what the log held at some moment, but for some numbers."""

    def __init__(self, world: World, *, without: range = range(0)) -> None:
        self.events = {name: list(events) for name, events in world.log.events.items()}
        self.without = without

    async def read(self, partition: str, *, after: int, log: str) -> AsyncGenerator[list[StreamEvent], None]:
        """See `History`."""
        assert log == "001"
        numbers = [one for one in self.events[partition] if one.sequence_number not in self.without]
        for event in numbers:
            if event.sequence_number > after:
                yield [event]


@pytest.mark.parametrize(
    ("without", "expired", "missing"),
    [
        (range(0), 40, {}),
        (range(50, 60), 40, {}),
        (range(30, 35), 40, {"0": 35, "1": 35}),
        (range(30, 45), 40, {"0": 40, "1": 40}),
    ],
)
async def test_bronze_is_read_first_then_the_log_from_where_bronze_ends_or_lacks_some(
    without: range, expired: int, missing: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and partition; what neither has is told."""
    monkeypatch.setattr(feed, "FAR", 0)
    world = World()
    world.quiet = True
    for _ in range(160):
        world.append()
    world.history = Files(world, without=without)
    for _ in range(20):
        world.append()
    await world.deliver_all()
    for partition in ("0", "1"):
        world.log.expire(expired, partition=partition)
    assert await world.rebuild("tally") is (Step.DIFFERS if missing else Step.DONE)
    found = await world.instances[0].versions.now("tally")
    assert found.missing == missing
    assert found.events == 180 - (5 * 2 if missing else 0) - (5 * 2 if missing.get("0") == 40 else 0)
    if not missing:
        world.seconds += 20
        await world.check()


async def test_a_row_that_only_the_live_version_has_is_named() -> None:
    """Its only event is gone."""
    world = World()
    world.quiet = True
    world.append("item-0", 5)
    for _ in range(5):
        world.append("item-2", 7)
    await world.deliver_all()
    world.log.expire(1, partition="0")
    assert await world.rebuild("stock") is Step.DIFFERS
    report = (await world.instances[0].versions.now("stock")).report
    assert (report["rows"], report["missing"], report["examples"]) == ([2, 1], 1, ["item-0"])
    rebuilder = world.rebuilder()
    await rebuilder.drop("stock")
    assert await rebuilder.run("stock", lambda: 100.0) is Step.DONE
    assert (await world.instances[0].versions.now("stock")).stage is Stage.NONE
    await world.check()


async def test_an_event_that_nobody_can_project_is_passed_over_as_it_was_before() -> None:
    """The row is what the event before it says."""
    world = World()
    world.append("item-0", 5)
    world.append("item-0", POISON)
    world.append("item-2", POISON)
    world.append("item-2", 4)
    await world.deliver_all()
    assert await world.rebuild("stock") is Step.DONE
    assert await world.rebuild("tally") is Step.DONE
    assert (await world.instances[0].versions.now("tally")).skipped == 2
    await world.sleep(20)
    await world.check()


async def test_what_is_not_possible_is_refused_by_name() -> None:
    """Unknown views, numbers that were given, a second version beside two."""
    world = World()
    world.append()
    await world.deliver_all()
    rebuilder = world.rebuilder()
    with pytest.raises(CannotRebuild, match="there is no view shelves: there are stock, tally"):
        await rebuilder.ask("shelves")
    with pytest.raises(CannotRebuild, match="only one version"):
        await rebuilder.drop("stock")
    with pytest.raises(CannotRebuild, match="no earlier version"):
        await rebuilder.roll_back("stock", time_left=lambda: 1.0)
    with pytest.raises(CannotRebuild, match="use 2 or more"):
        await rebuilder.ask("stock", to=1)
    assert await world.rebuild("stock", to=7) is Step.DONE
    with pytest.raises(CannotRebuild, match="still there"):
        await rebuilder.ask("stock")
    await rebuilder.drop("stock")
    await rebuilder.run("stock", lambda: 100.0)
    with pytest.raises(CannotRebuild, match="use 8 or more"):
        await rebuilder.ask("stock", to=7)


async def test_an_empty_log_makes_an_empty_version() -> None:
    """Nothing waits for events that never were."""
    world = World()
    world.quiet = True
    assert await world.rebuild("stock") is Step.DONE
    assert (await world.instances[0].versions.now("stock")).report["rows"] == [0, 0]


async def test_a_row_that_the_live_version_has_deleted_does_not_come_back() -> None:
    """Where the event that deletes it fails in the release that rebuilds."""
    world = World()
    world.quiet = True
    world.append("item-0", 5)
    world.append("item-0", cleared=True)
    world.append("item-2", 7)
    await world.deliver_all()

    broken = Integration("warehouse")

    @broken.projects("stock.counted", into="tally", find_by=["shelf"], key="item")
    def add(counted: Counted, row: Tally | None) -> Tally:
        so_far = row or Tally(item=counted.item, total=0, counts=0)
        return Tally(item=counted.item, total=so_far.total + counted.count, counts=so_far.counts + 1)

    @broken.projects("stock.cleared", into="tally")
    def clear(_: Cleared, row: Tally | None) -> Tally | None:
        raise KeyError("this release has a fault")

    world.registry = Registry([broken])
    world.indexes = indexes_of(world.registry)
    assert await world.rebuild("tally") is Step.DIFFERS
    report = (await world.instances[0].versions.now("tally")).report
    assert (report["more"], report["older"], report["examples"]) == (1, 1, ["item-0"])
