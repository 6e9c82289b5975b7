"""What a process remembers saves reads; it never decides what only the inbox may."""

from __future__ import annotations

from shared.messages import Lane
from shared.processing import Recent

from .world import World, delivery, headers


async def test_a_second_delivery_asks_nobody() -> None:
    """This process has seen its commit."""
    world = World()
    await world.process(delivery(1, "A", amount=2))
    finds = world.state.finds
    await world.process(delivery(1, "A", amount=2))
    assert world.state.finds == finds
    assert world.stock("A") == {"total": 2, "moves": [2]}


async def test_another_payload_under_a_known_id_is_still_refused() -> None:
    """The memory knows what was done under the id."""
    world = World()
    await world.process(delivery(1, "A", amount=2))
    await world.process(delivery(1, "A", amount=3))
    assert world.stock("A") == {"total": 2, "moves": [2]}
    assert list(world.reasons().values()) == ["MESSAGE_ID_CONFLICT"]


async def test_a_replay_always_asks_the_inbox() -> None:
    """An operator's word counts more than what a process remembers."""
    world = World()
    await world.process(delivery(1, "A"))
    finds = world.state.finds
    await world.process(delivery(1, "A", with_headers={"replay": 1}))
    assert world.state.finds > finds


async def test_a_message_that_died_is_not_remembered_as_done() -> None:
    """It may be opened again."""
    world = World()
    await world.process(delivery(1, "A", behave="reject"))
    finds = world.state.finds
    await world.process(delivery(1, "A", behave="reject"))
    assert world.state.finds > finds


async def test_the_head_of_a_new_aggregate_is_not_looked_for_where_all_are_new() -> None:
    """One read a message, the inbox's; a wrong guess costs reads, and nothing else."""
    world = World()
    for number in range(40):
        await world.process(delivery(number, f"item-{number}"))
    finds = world.state.finds
    await world.process(delivery(40, "item-40"))
    guessed = world.state.finds - finds
    await world.process(delivery(41, "item-40"))
    assert world.state.finds - finds - guessed == guessed + 1
    assert [fact.sequence for fact in world.told() if fact.subject == "item-40"] == [1, 2]


def test_a_key_that_was_seen_is_no_newcomer_and_one_old_aggregate_ends_the_guessing() -> None:
    """Of each event type apart; what is remembered is bounded."""
    recent = Recent(after=2, remembered=2)
    for number in range(3):
        recent.looked_for(headers(number, f"k{number}"), new=True)
        recent.see(headers(number, f"k{number}"))
    assert [recent.expects_new(headers(9, key)) for key in ("k0", "k1", "k2", "new")] == [True, False, False, True]
    assert not recent.expects_new(headers(9, "new", event_type="other"))
    recent.looked_for(headers(9, "k1", lane=Lane.LOW), new=False)
    assert not recent.expects_new(headers(9, "new"))
