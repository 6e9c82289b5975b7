"""Commands that handlers send: they leave with the commit, through the outbox, and take effect once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from shared.messages import Lane
from shared.processing import BatchFailed

from .world import World, delivery, redelivered


async def test_a_command_goes_to_its_lane_and_changes_the_other_aggregate() -> None:
    """Facts keep numbers of their own: a command among them leaves no gap."""
    world = World()
    await world.process(delivery(1, behave="sends", amount=4))
    (sent,) = world.lanes.sent
    assert (sent.headers.lane, sent.headers.key, sent.headers.correlation_id) == (Lane.HIGH, "shelf", "c-1")
    assert [(fact.type, fact.sequence) for fact in world.told()] == [("stock.counted", 1), ("stock.told", 2)]
    assert world.state.keys("outbox:") == []
    await world.process(redelivered(sent))
    assert world.stock("shelf") == {"total": 4, "moves": [4]}
    assert world.stock("item-1") == {"total": 4, "moves": [4]}


async def test_a_command_that_was_sent_twice_takes_effect_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox may publish a row again after a crash; its id is the same."""
    world = World()

    async def fail(*_: object) -> None:
        raise ConnectionError("the rows couldn't be deleted")

    with monkeypatch.context() as broken:
        broken.setattr(world.state, "delete", fail)
        await world.process(delivery(1, behave="sends", amount=4))
    assert len(world.state.keys("outbox:item-1:")) == 3
    other = World(state=world.state)  # this instance knows that the rows are published
    await other.process(delivery(2, "item-1", behave="sends", amount=5))
    assert world.state.keys("outbox:item-1:") == []
    copies = [*world.lanes.sent, *other.lanes.sent]
    ids = [sent.headers.message_id for sent in copies]
    assert (len(ids), len(set(ids))) == (3, 2)
    for sent in copies:
        await world.process(redelivered(sent))
    stock = world.stock("shelf")
    assert stock is not None
    assert sorted(stock["moves"]) == [4, 5]


async def test_the_outbox_is_asked_only_where_somebody_else_spoke_last() -> None:
    """What this instance has published needs no look; what another has said since does."""
    world, asked = World(), 0
    ask = world.state.outbox

    def counted(*which: Any) -> Any:
        nonlocal asked
        asked += 1
        return ask(*which)

    world.state.outbox = counted  # type: ignore[method-assign, assignment]
    for number in (1, 2, 3):
        await world.process(delivery(number, "A"))
    assert asked == 0
    await World(state=world.state).process(delivery(4, "A"))
    assert asked == 1
    await world.process(delivery(5, "A"))
    assert asked == 2
    assert [fact.sequence for fact in world.told()] == [1, 2, 3, 5]


async def test_what_was_left_in_the_outbox_goes_before_what_is_said_next() -> None:
    """A hub that was down for one batch doesn't turn the facts of a key around."""
    world = World()
    world.publisher.failures = [ConnectionError("no hub")]
    await world.process(delivery(1, "A"))
    assert world.told() == []
    await world.process(delivery(2, "A"), delivery(3, "A"), delivery(4, "B"))
    assert [fact.sequence for fact in world.told() if fact.subject == "A"] == [1, 2, 3]
    assert world.state.keys("outbox:") == []


async def test_a_command_of_a_message_that_fails_is_never_sent() -> None:
    """Nothing leaves without the commit."""
    world = World()
    world.state.failures = [None, None, None, ConnectionError("no storage")]
    with pytest.raises(BatchFailed):
        await world.process(delivery(1, behave="sends"))
    assert world.lanes.sent == []
    assert world.told() == []


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        ("sends to nobody", "UNKNOWN_EVENT_TYPE"),
        ("sends another version", "UNKNOWN_VERSION"),
        ("sends nonsense", "VALIDATION_ERROR"),
    ],
)
async def test_a_command_that_nobody_takes_is_its_senders_failure(behave: str, code: str) -> None:
    """A dead letter at once, and nothing of the message is done; the rest of the batch is."""
    world = World()
    await world.process(delivery(1, behave=behave), delivery(2))
    assert world.reasons() == {str(UUID(int=1)): code}
    assert world.stock("item-1") is None
    assert world.lanes.sent == []
    assert world.status(2) == "done"
