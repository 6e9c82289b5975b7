"""A message whose partner can't be called waits without an attempt, but not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
