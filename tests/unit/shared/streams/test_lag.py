"""How far a consumer is behind: events, and for how long nothing moves."""

from __future__ import annotations

import pytest

from shared.streams import LagWatch, Positions
from shared.streams.event_log import LogUnavailable
from shared.streams.positions import Position
from shared.tables import MemoryTable
from tests.unit.memory import MemoryLog


class Consumer:
    """Positions, a log, and a clock that is moved."""

    def __init__(self) -> None:
        self.log = MemoryLog(["0", "1"])
        self.positions = Positions(MemoryTable("positions"), hub="events", group="views")
        self.seconds = 0.0
        self.watch = LagWatch(self.positions, self.log, clock=lambda: self.seconds)

    async def advance(self, partition: str, sequence: int) -> None:
        known = await self.positions.get(partition)
        position = known or Position(sequence=-1, log=await self.log.identity())
        await self.positions.advance(partition, position, sequence)


async def test_what_came_in_and_was_not_dealt_with() -> None:
    """Of every partition; an empty log is nobody's lag."""
    consumer = Consumer()
    assert (await consumer.watch.look()).events == {"0": 0, "1": 0}
    for _ in range(5):
        consumer.log.append(b"{}", partition="0")
    consumer.log.append(b"{}", partition="1")
    assert (await consumer.watch.look()).total == 6
    await consumer.advance("0", 3)
    assert (await consumer.watch.look()).events == {"0": 1, "1": 1}


async def test_a_partition_that_stands_is_noticed_and_one_that_moves_is_not() -> None:
    """However far behind the moving one is."""
    consumer = Consumer()
    for _ in range(50):
        consumer.log.append(b"{}", partition="0")
    for step in range(10):
        await consumer.advance("0", step)
        assert (await consumer.watch.look()).stuck == 0
        consumer.seconds += 30
    assert (await consumer.watch.look()).stuck == 30
    consumer.seconds += 100
    assert (await consumer.watch.look()).stuck == 130
    await consumer.advance("0", 49)
    assert (await consumer.watch.look()).stuck == 0


async def test_what_expired_or_belongs_to_another_log_is_not_counted() -> None:
    """Only what can still be read is behind."""
    consumer = Consumer()
    for _ in range(10):
        consumer.log.append(b"{}", partition="0")
    consumer.log.expire(8, partition="0")
    assert (await consumer.watch.look()).total == 2
    await consumer.advance("0", 9)
    consumer.log.make_anew()
    consumer.log.append(b"{}", partition="0")
    assert (await consumer.watch.look()).total == 1


async def test_a_log_that_is_away_is_no_lag() -> None:
    """It is an error of its own."""
    consumer = Consumer()
    consumer.log.broken = LogUnavailable("away")
    with pytest.raises(LogUnavailable):
        await consumer.watch.look()
