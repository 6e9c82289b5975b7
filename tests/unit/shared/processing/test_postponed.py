"""A message whose partner can't be called waits without an attempt, but not for ever."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.messages import Lane
from shared.processing.handling import LONGEST_POSTPONED

from .world import NOW, World, delivery, redelivered


async def test_a_message_waits_for_its_partner_without_an_attempt() -> None:
    """It comes again when the breaker opens the way, as often as it takes: more often than it has attempts."""
    world = World(attempts=2, reserve=1)
    for number in range(5):
        await world.process(delivery(1, behave="postponed") if number == 0 else redelivered(world.lanes.sent[-1]))
        sent = world.lanes.sent[number]
        assert (sent.headers.attempt, sent.when) == (1, NOW + timedelta(seconds=45))
    assert not world.dead.letters


@pytest.mark.parametrize("replay", [0, 1])
async def test_it_does_not_wait_for_ever(replay: int) -> None:
    """After three days it is a dead letter; one that an operator brought back waits again."""
    world = World()
    long_ago = NOW - timedelta(seconds=LONGEST_POSTPONED + 1)
    late = {"accepted_at": long_ago, "replay": replay}
    await world.process(delivery(1, with_headers=late, behave="postponed"))
    assert len(world.lanes.sent) == replay
    assert list(world.reasons().values()) == ([] if replay else ["ATTEMPTS_EXHAUSTED"])


async def test_on_the_ordered_lane_its_key_waits_with_it() -> None:
    """The next message of the key isn't run before it, and neither has lost an attempt."""
    world = World(in_order=True)
    first, second = (delivery(number, "item-1", behave=how) for number, how in ((1, "postponed"), (2, "well")))
    await world.processor.process(Lane.ORDERED, [first])
    await world.processor.process(Lane.ORDERED, [second])
    assert world.stock("item-1") is None
    assert len(world.put_off()) == 2
    waiting = [row for (_, key), row in world.state.rows.items() if key.startswith("waiting:")]
    assert [json.loads(row["properties"])["attempt"] for row in waiting] == [1, 1]
    assert not world.dead.letters
