"""A drill's verdict finds every kind of broken promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from local.chaos.ledger import Event, Ledger, judge


def sound() -> Ledger:
    """Two orders; one got two messages, a third message is dead."""
    return Ledger(
        inbox={"m1": "done", "m2": "done", "m3": "done", "m4": "dead"},
        done=Counter({"a": 2, "b": 1}),
        heads={"a": 2, "b": 1},
        dead_letters={"m4"},
        events=[Event("m1:0", "a", 1), Event("m3:0", "b", 1), Event("m2:0", "a", 2)],
    )


ACCEPTED = ("m1", "m2", "m3", "m4")


def test_what_adds_up_holds() -> None:
    verdict = judge(ACCEPTED, sound())
    assert verdict.holds
    assert (verdict.processed, verdict.dead_lettered) == (3, 1)


def test_an_accepted_message_that_nobody_knows_is_lost() -> None:
    verdict = judge((*ACCEPTED, "m5"), sound())
    assert verdict.lost == 1
    assert not verdict.holds


def test_an_event_that_repeats_under_its_id_breaks_nothing() -> None:
    ledger = sound()
    ledger.events.append(Event("m1:0", "a", 1))
    verdict = judge(ACCEPTED, ledger)
    assert verdict.holds
    assert verdict.events_repeated == 1


def test_a_count_above_the_messages_is_an_effect_done_twice() -> None:
    ledger = replace(sound(), heads={"a": 3, "b": 1})
    ledger.events.append(Event("m1:0", "a", 3))
    verdict = judge(ACCEPTED, ledger)
    assert verdict.duplicate_effects == 1
    assert not verdict.holds


def test_a_count_below_the_messages_is_an_effect_overwritten() -> None:
    assert judge(ACCEPTED, replace(sound(), heads={"a": 1, "b": 1})).duplicate_effects == 1


def test_two_facts_under_one_number_are_an_effect_done_twice() -> None:
    ledger = sound()
    ledger.events.append(Event("m9:0", "a", 2))
    assert judge(ACCEPTED, ledger).duplicate_effects == 1


def test_a_number_that_the_log_lacks_is_a_gap() -> None:
    ledger = sound()
    del ledger.events[0]
    verdict = judge(ACCEPTED, ledger)
    assert verdict.event_gaps == 1
    assert not verdict.holds


def test_first_copies_that_swapped_places_are_out_of_order() -> None:
    ledger = sound()
    ledger.events.reverse()
    verdict = judge(ACCEPTED, ledger)
    assert verdict.events_out_of_order == 1
    assert not verdict.holds
