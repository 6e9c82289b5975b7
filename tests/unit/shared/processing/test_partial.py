"""A message that is partly done keeps its progress, and says nothing before it is done."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import pytest

from shared.processing import BatchFailed
from shared.state import Row, partition_key, state_key
from shared.tables import Create
from tests.unit.memory import MemoryState

from .world import NOW, World, delivery, redelivered


async def test_progress_is_kept_and_the_rest_comes_later() -> None:
    """The half is saved, nothing is said, and the copy waits as long as the handler asked."""
    world = World()
    await world.process(delivery(1, behave="in two halves", amount=5), delivery(2))
    assert world.state.keys("state:half:") == ["state:half:item-1"]
    assert (world.status(1), world.status(2)) == (None, "done")
    assert [fact.subject for fact in world.told()] == ["item-2"]
    (copy,) = world.lanes.sent
    assert (copy.headers.attempt, copy.when) == (2, NOW + timedelta(seconds=3))

    await world.process(redelivered(copy))
    assert world.stock("item-1") == {"total": 5, "moves": [5]}
    assert world.state.keys("state:half:") == []
    assert [fact.type for fact in world.told() if fact.subject == "item-1"] == ["stock.counted"]
    assert world.status(1) == "done"
    assert len(world.lanes.sent) == 1


async def test_a_delivery_after_the_progress_goes_on_from_there() -> None:
    """The copy and the original both come when the original couldn't be completed."""
    world = World()
    world.lanes.failures = [ConnectionError("no broker")]
    with pytest.raises(BatchFailed):
        await world.process(delivery(1, behave="in two halves"))
    await world.process(delivery(1, behave="in two halves"))
    assert world.stock("item-1") == {"total": 1, "moves": [1]}
    assert world.lanes.sent == []


class Overtaken(MemoryState):
    """A state table in which somebody else saves a half right after it was found missing."""

    async def find(self, bucket: int, row_keys: Collection[str]) -> dict[str, Row]:
        found = await super().find(bucket, row_keys)
        key = state_key("half", "item-1")
        if list(row_keys) == [key] and not found:
            row = {"PartitionKey": partition_key(bucket), "RowKey": key, "value": '{"total":7,"moves":[]}'}
            await self.commit(bucket, [Create(row)])
        return found


async def test_progress_that_somebody_else_overtook_is_dropped() -> None:
    """The next run starts from theirs; the message isn't lost, nor does it fail its batch."""
    world = World(state=Overtaken())
    await world.process(delivery(1, behave="in two halves"), delivery(2))
    (copy,) = world.lanes.sent
    (row,) = [row for (_, key), row in world.state.rows.items() if key == "state:half:item-1"]
    assert row["value"] == '{"total":7,"moves":[]}'
    await world.process(redelivered(copy))
    assert (world.status(1), world.status(2)) == ("done", "done")


async def test_a_message_that_never_gets_whole_ends_among_the_dead() -> None:
    """Attempts are bounded for it too."""
    world = World(attempts=3)
    await world.process(delivery(1, behave="half", with_headers={"attempt": 3}))
    assert world.reasons() == {str(UUID(int=1)): "ATTEMPTS_EXHAUSTED"}
    (letter,) = world.dead.letters.values()
    assert (letter.category, letter.reason) == ("partial", "half of it")
