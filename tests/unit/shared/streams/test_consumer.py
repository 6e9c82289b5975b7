"""A log without a gap: whatever the host passed over is applied, before what came after it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from azure.core.exceptions import ServiceRequestError
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.streams import Positions, StreamConsumer, StreamEvent
from shared.streams.consumer import FIRST_START_EVENTS
from shared.tables.memory import MemoryTable
from tests.unit.memory import Host, MemoryLog


class Outage(ServiceRequestError):
    """Storage is away."""


class Table(MemoryTable):
    """The table of positions, which can be away."""

    def __init__(self) -> None:
        super().__init__("streampositions")
        self.away = False
        self.writes = self.gets = 0

    async def get(self, partition, row, *, select=()):  # type: ignore[no-untyped-def]
        """See `Table`."""
        self.gets += 1
        self._meet()
        return await super().get(partition, row, select=select)

    async def submit(self, operations):  # type: ignore[no-untyped-def]
        """See `Table`."""
        self.writes += 1
        self._meet()
        return await super().submit(operations)

    def _meet(self) -> None:
        if self.away:
            raise Outage("away")


class World:
    """A log, its host, and consumers that keep what they apply."""

    def __init__(self, *, batch: int = 5) -> None:
        self.log = MemoryLog()
        self.host = Host(self.log, batch=batch)
        self.table = Table()
        self.applied: list[int] = []
        self.dead: list[int] = []
        self.seconds = 0.0
        self.costs = 0.0
        self.consumer = self.instance()

    def instance(self) -> StreamConsumer:
        """Another instance of the app."""
        positions = Positions(self.table, hub="events", group="g")
        return StreamConsumer("a test", self.apply, positions, self.log, clock=lambda: self.seconds)

    async def apply(self, events: Sequence[StreamEvent]) -> None:
        """All of them, or none while storage is away."""
        if self.table.away:
            raise Outage("away")
        self.seconds += self.costs
        for event in events:
            self.check_order(event)
            (self.dead if event.unreadable else self.applied).append(event.sequence_number)

    def check_order(self, event: StreamEvent) -> None:
        """Everything before it that the log holds was dealt with."""
        dealt = {*self.applied, *self.dead}
        missing = [
            one.sequence_number
            for one in self.log.events.get(event.partition, [])
            if one.sequence_number < event.sequence_number and one.sequence_number not in dealt
        ]
        assert missing == []

    def append(self, count: int, *, poison: bool = False) -> None:
        """Some events."""
        for _ in range(count):
            self.log.append(b"{}", unreadable="An AMQP value." if poison else "")

    @property
    def position(self) -> int | None:
        """The stored number."""
        rows = list(self.table.rows.values())
        return int(rows[0]["sequence"]) if rows else None


async def test_batches_that_follow_on_are_applied_with_one_write_each() -> None:
    """Nothing is read but once, at the start."""
    world = World()
    world.append(20)
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == list(range(20))
    assert (world.table.gets, world.table.writes, world.log.reads, world.position) == (1, 4, 0, 19)


async def test_events_that_the_binding_could_not_take_are_read_again_before_later_ones() -> None:
    """Good neighbours are applied, in order; the poison event is dealt with once."""
    world = World()
    world.append(7)
    world.append(1, poison=True)
    world.append(8)
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == [0, 1, 2, 3, 4, 5, 6, *range(8, 16)]
    assert world.dead == [7]
    assert world.host.calls == 4 - 1 + 6


async def test_the_first_event_ever_may_be_poison() -> None:
    """Its batch never reached the app; a consumer without a position begins where the log does."""
    world = World()
    world.append(1, poison=True)
    world.append(9)
    await world.host.deliver(world.consumer.deliver)
    assert (world.dead, world.applied) == ([0], list(range(1, 10)))


async def test_a_long_outage_loses_nothing() -> None:
    """Batches pass by while storage is away."""
    world = World()
    world.append(10)
    await world.host.deliver(world.consumer.deliver)
    world.table.away = True
    world.append(30)
    await world.host.deliver(world.consumer.deliver)
    assert world.host.checkpoint["0"] == 40
    world.table.away = False
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == list(range(45))
    assert world.host.calls == 2 + 6 * 6 + 1


async def test_what_is_missing_at_the_end_is_closed_by_the_clock() -> None:
    """No later event comes; the trigger has its time first."""
    world = World()
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    world.append(4)
    world.append(1, poison=True)
    await world.host.deliver(world.consumer.deliver)
    for _ in range(2):
        assert not await world.consumer.close_gaps(lambda: 60.0)
        world.seconds += 61.0
    assert world.applied == list(range(5))
    assert not await world.consumer.close_gaps(lambda: 60.0)
    assert (world.applied, world.dead, world.position) == (list(range(9)), [9], 9)
    reads = world.log.reads
    for _ in range(5):
        world.seconds += 61.0
        assert not await world.consumer.close_gaps(lambda: 60.0)
    assert world.log.reads == reads


async def test_the_clock_goes_on_while_every_batch_is_poisoned() -> None:
    """A producer that sends what nobody can bind goes on doing so; others' events wait some minutes at most."""
    world = World()
    for _ in range(20):
        world.append(4)
        world.append(1, poison=True)
        await world.host.deliver(world.consumer.deliver)
        await world.consumer.close_gaps(lambda: 60.0)
        world.seconds += 60.0
    assert len(world.applied) >= 4 * (20 - 6)


async def test_the_clock_leaves_alone_what_moves() -> None:
    """A host that is far behind gets there by itself."""
    world = World()
    world.append(100)
    for _ in range(10):
        await world.host.deliver(world.consumer.deliver, most=1)
        await world.consumer.close_gaps(lambda: 60.0)
        world.seconds += 300.0
    assert (world.log.reads, world.applied) == (0, list(range(50)))


async def test_the_clock_closes_a_large_gap_over_several_runs() -> None:
    """Each says that there is more, and the next one goes on at once."""
    world = World()
    world.append(100)
    await world.consumer.close_gaps(lambda: 60.0)
    world.seconds += 121.0
    world.costs = 20.0
    runs = 1
    while await world.consumer.close_gaps(lambda: 60.0):
        runs += 1
    assert (runs, world.applied) == (5, list(range(100)))


async def test_a_partition_whose_storage_is_away_keeps_no_other_ones_gap_open() -> None:
    """The first of three; its own is closed when storage is back, and nothing is begun without time."""
    world = World()
    world.log = MemoryLog(("0", "1", "2"))
    applied: list[str] = []
    away = {"0"}

    async def apply(events: Sequence[StreamEvent]) -> None:
        if events[0].partition in away:
            raise Outage("away")
        applied.extend(event.partition for event in events)

    world.apply = apply  # type: ignore[method-assign]
    world.consumer = world.instance()
    for partition in world.log.events:
        world.log.append(b"{}", partition=partition)
    assert not await world.consumer.close_gaps(lambda: 60.0)
    world.seconds += 121.0
    assert await world.consumer.close_gaps(lambda: 0.0)
    with pytest.RaisesGroup(Outage):
        await world.consumer.close_gaps(lambda: 60.0)
    assert applied == ["1", "2"]
    away.clear()
    assert not await world.consumer.close_gaps(lambda: 60.0)
    assert applied == ["1", "2", "0"]


async def test_the_clock_closes_what_came_before_any_position() -> None:
    """The first event ever is poison, and the only one."""
    world = World()
    world.append(1, poison=True)
    await world.host.deliver(world.consumer.deliver)
    await world.consumer.close_gaps(lambda: 60.0)
    world.seconds += 121.0
    await world.consumer.close_gaps(lambda: 60.0)
    assert (world.dead, world.position) == ([0], 0)


async def test_a_large_gap_is_closed_over_several_calls() -> None:
    """Each does what its time allows, and a batch behind an open gap waits for it."""
    world = World()
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    world.table.away = True
    world.append(100)
    await world.host.deliver(world.consumer.deliver)
    world.table.away = False
    world.costs = 20.0
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    assert world.position == 4 + 3 * world.log.chunk
    assert world.applied == list(range(5 + 3 * world.log.chunk))
    world.costs = 0.0
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == list(range(115))


async def test_events_that_expired_are_told_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can bring them back, and nothing waits for them."""
    world = World()
    world.append(5)
    await world.host.deliver(world.consumer.deliver)
    world.append(20)
    world.log.expire(15)
    world.host.checkpoint["0"] = 20
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == [*range(5), *range(15, 25)]
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == ["stream events expired"]


async def test_a_log_made_anew_is_read_from_its_beginning() -> None:
    """Numbers that were stored of the old one mean nothing in it, even where it has come as far."""
    world = World()
    world.append(12)
    await world.host.deliver(world.consumer.deliver)
    world.log.make_anew()
    world.host.checkpoint.clear()
    world.applied.clear()
    world.append(3, poison=True)
    world.append(27)
    await world.host.deliver(world.consumer.deliver)
    assert (world.dead, world.applied) == ([0, 1, 2], list(range(3, 30)))
    assert world.position == 29


async def test_a_group_from_before_positions_goes_on_where_it_was() -> None:
    """A hub with a large backlog isn't read again from its beginning."""
    world = World()
    world.log.first["0"] = 0
    world.log.events["0"] = []
    begin = FIRST_START_EVENTS + 50
    world.log.expire(begin)
    world.append(10)
    world.log.first["0"] = 0
    world.host.checkpoint["0"] = begin
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == list(range(begin, begin + 10))
    assert world.log.reads == 0


async def test_a_redelivery_is_applied_again_and_moves_nothing_back() -> None:
    """An operator who resets a checkpoint has a view built anew."""
    world = World()
    world.append(10)
    await world.host.deliver(world.consumer.deliver)
    world.host.checkpoint["0"] = 0
    await world.host.deliver(world.consumer.deliver)
    assert world.applied == [*range(10), *range(10)]
    assert world.position == 9


async def test_a_log_is_asked_seldom() -> None:
    """A question takes a connection of its own: none where a batch follows on, few while a view is built anew."""
    world = World()
    world.append(100)
    await world.host.deliver(world.consumer.deliver)
    world.append(5)
    await world.host.deliver(world.instance().deliver)
    assert world.log.asked == 1
    world.host.checkpoint["0"] = 0
    await world.host.deliver(world.consumer.deliver)
    assert world.log.asked == 2
    world.log.make_anew()
    world.host.checkpoint.clear()
    world.append(50, poison=True)
    world.append(10)
    world.applied.clear()
    world.seconds += 61.0
    await world.host.deliver(world.consumer.deliver)
    assert (world.dead, world.applied) == (list(range(50)), list(range(50, 60)))


async def test_an_event_by_hand_is_applied_and_moves_nothing() -> None:
    """It has no partition."""
    world = World()
    await world.consumer.deliver([StreamEvent(body=b"{}", partition="", offset="", sequence_number=-(2**63))])
    await world.consumer.deliver([])
    assert (len(world.applied), world.position) == (1, None)


async def test_a_log_that_is_away_stops_what_comes_after_the_gap() -> None:
    """Until it can be read."""
    world = World()
    world.append(3)
    await world.host.deliver(world.consumer.deliver)
    world.append(5)
    world.host.checkpoint["0"] = 5
    world.log.broken = Outage("away")
    with pytest.raises(Outage):
        await world.consumer.deliver(world.log.events["0"][5:])
    assert world.applied == [0, 1, 2]
    world.log.broken = None
    await world.consumer.deliver(world.log.events["0"][5:])
    assert world.applied == list(range(8))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12)),
        st.tuples(st.just("poison"), st.integers(1, 2)),
        st.tuples(st.just("host"), st.integers(1, 4)),
        st.tuples(st.just("storage"), st.booleans()),
        st.tuples(st.just("log"), st.booleans()),
        st.tuples(st.just("instance"), st.integers(0, 1)),
        st.tuples(st.just("clock"), st.integers(0, 1)),
        st.tuples(st.just("rewind"), st.integers(1, 9)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 9))
async def test_whatever_happens_every_event_is_applied_in_order(steps: list[tuple[str, int]], batch: int) -> None:
    """Two instances that take turns, outages, poison, the clock, and a host that goes back or passes over."""
    world = World(batch=batch)
    instances = [world.instance(), world.instance()]
    here = 0
    for what, how in steps:
        match what:
            case "append" | "poison":
                world.append(how, poison=what == "poison")
            case "host":
                await world.host.deliver(instances[here].deliver, most=how)
            case "storage":
                world.table.away = bool(how)
            case "log":
                world.log.broken = Outage("away") if how else None
            case "instance":
                here = how
            case "rewind":
                world.host.checkpoint["0"] = max(0, world.host.checkpoint.get("0", 0) - how)
            case _:
                world.seconds += 180.0
                if not world.table.away and world.log.broken is None:
                    await instances[how].close_gaps(lambda: 60.0)
    world.table.away, world.log.broken = False, None
    world.append(1)
    await world.host.deliver(instances[here].deliver)
    for _ in range(4):  # the host may have given up on the whole partition, and the clock have seen a part of it
        await instances[0].close_gaps(lambda: 60.0)
        world.seconds += 180.0
    held = world.log.events["0"]
    assert set(world.applied) == {one.sequence_number for one in held if not one.unreadable}
    assert set(world.dead) == {one.sequence_number for one in held if one.unreadable}
    assert world.position == len(held) - 1
    assert json.loads(json.dumps(world.position)) == len(held) - 1


async def test_two_instances_at_once_move_the_position_on_only() -> None:
    """A partition that moves is read by both for a moment."""
    world = World()
    world.append(10)
    other = world.instance()
    events = world.log.events["0"]
    await world.consumer.deliver(events[:5])
    await other.deliver(events[:8])
    await world.consumer.deliver(events[5:7])
    assert world.position == 7
    await world.consumer.deliver(events[8:10])
    assert world.position == 9
    assert world.log.reads == 0
