"""Poisoned events of the fuzz are poison, and its good ones are good: here without a stack."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest

from integrations.orders import orders
from local.fuzz.events import good_event, poison_event
from shared.dead_letters import DeadLetterStore
from shared.messages import Registry
from shared.query import Projector, ReadModels
from shared.streams import StreamEvent
from shared.tables.memory import MemoryTable
from tests.unit.memory import MemoryDeadLetters
from tests.unit.shared.query.test_projector import NOW


@pytest.mark.parametrize("seed", range(8))
async def test_each_poisoned_event_is_one_dead_letter_and_its_neighbours_are_rows(seed: int) -> None:
    """Twenty bad ones among good ones, in one batch."""
    dead, views = MemoryDeadLetters(), ReadModels(MemoryTable("readmodels"))
    projector = Projector(Registry([orders]), views, cast("DeadLetterStore", dead), now=lambda: NOW)
    chance, keys = Random(seed), list[str]()
    events, kinds = list[StreamEvent](), dict[int, str]()
    while len(kinds) < 20:
        kind, body = poison_event(chance, f"{seed}-{len(kinds)}-bad")
        if isinstance(body, dict):  # an AMQP value, which no batch holds
            continue
        keys.append(f"{seed}-{len(kinds)}" + chance.choice(("", "/", "%2F", "\U0001f600", " ")))
        for one in (good_event(keys[-1], 1), body):
            events.append(StreamEvent(body=one, partition="0", offset="0", sequence_number=len(events)))
        kinds[len(events) - 1] = kind
    await projector.project(events)
    assert sorted(letter.position["sequenceNumber"] for letter in dead.letters.values()) == list(kinds), kinds
    assert [key for key in keys if await views.get("orders", key) is None] == []
