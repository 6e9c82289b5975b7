"""Blobs of Event Grid's dead letters: read, delivered after all or recorded, and kept until then."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.blobs import ForeignBlobs
from shared.dead_letters import DeadLetterStore
from shared.undelivered import UndeliveredDrain, read_blob
from tests.unit.memory import MemoryDeadLetters

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
CLOUD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "made", "subject": "k", "data": {"a": 1}}
WHY = {
    "deadletterreason": "MaxDeliveryAttemptsExceeded",
    "deliveryattempts": 30,
    "lastdeliveryoutcome": "NotFound",
    "publishtime": "2026-11-29T12:00:00.1234567Z",
    "lastdeliveryattempttime": "2026-11-30T11:00:00.0000000Z",
}
OWN = {"id": "2", "topic": "/t", "subject": "k", "eventType": "made", "eventTime": "2026-11-29T12:00:00Z", "data": {}}


def test_what_event_grid_added_is_read_and_taken_away() -> None:
    """Of a CloudEvent and of its own schema; one that says nothing of why is taken as it is."""
    own = {**OWN, "deadLetterReason": "TimeToLiveExceeded", "deliveryAttempts": 3}
    first, second, third = read_blob(json.dumps([{**CLOUD, **WHY}, own, CLOUD]).encode())
    assert first.event == third.event == CLOUD
    assert second.event == OWN
    assert (first.identity, first.type, first.subject, first.attempts) == ("/s 1", "made", "k", 30)
    assert (first.code, second.code, third.code) == (
        "MAX_DELIVERIES_EXCEEDED",
        "MESSAGE_EXPIRED",
        "DEAD_LETTERED",
    )
    assert first.published == datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
    assert third.published is None


@pytest.mark.parametrize("content", [b"", b"1", b"[]", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_none_of_event_grids_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_blob(content)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_fields_of_any_type_are_read(value: Any) -> None:
    """Nothing that a field holds keeps a blob from being read."""
    for name in (*CLOUD, *WHY):
        read_blob(json.dumps([{**CLOUD, **WHY, name: value}]).encode())


class Blobs:
    """A container in memory."""

    def __init__(self, **blobs: bytes) -> None:
        self.blobs = dict(blobs)

    async def names(self) -> AsyncIterator[str]:
        """In their order."""
        for name in sorted(self.blobs):
            yield name

    async def read(self, name: str, *, largest: int) -> bytes | None:
        """None where it is larger."""
        return self.blobs[name] if len(self.blobs[name]) <= largest else None

    async def delete(self, name: str) -> None:
        """For good."""
        del self.blobs[name]


class World:
    """A drain; events of the type `ours` belong somewhere."""

    def __init__(self, **blobs: bytes) -> None:
        self.blobs, self.dead = Blobs(**blobs), MemoryDeadLetters()
        self.delivered: list[Mapping[str, Any]] = []
        self.away = False
        store = cast("DeadLetterStore", self.dead)
        self.drain = UndeliveredDrain(cast("ForeignBlobs", self.blobs), self._deliver, store, now=lambda: NOW)

    async def _deliver(self, event: Mapping[str, Any]) -> bool:
        if event["type"] != "ours":
            return False
        if self.away:
            raise ConnectionError
        self.delivered.append(event)
        return True


def blob(*events: Mapping[str, Any]) -> bytes:
    """As Event Grid writes it."""
    return json.dumps([{**one, **WHY} for one in events]).encode()


async def test_each_event_is_delivered_or_a_dead_letter_and_then_the_blob_goes() -> None:
    world = World(a=blob({**CLOUD, "type": "ours"}, CLOUD), b=b"no JSON")
    assert await world.drain.drain(lambda: True)
    assert world.delivered == [{**CLOUD, "type": "ours"}]
    assert world.blobs.blobs == {}
    assert {one.code for one in world.dead.letters.values()} == {"MAX_DELIVERIES_EXCEEDED", "MALFORMED_JSON"}
    (found,) = [one for one in world.dead.letters.values() if one.code == "MAX_DELIVERIES_EXCEEDED"]
    assert json.loads(found.body) == CLOUD
    assert (found.source, found.event_type, found.key, found.attempts) == ("event-grid", "made", "k", 30)


@pytest.mark.parametrize(
    "poison", ['"\\ud800"', "NaN", "1e999", "9" * 5_000, "[" * 70 + "]" * 70, "[" * 900 + "]" * 900, '{"a":1,"a":2}']
)
async def test_one_event_that_nobody_can_read_costs_no_other(poison: str) -> None:
    """It alone is a dead letter, or, where the name of a field comes twice, read as its last."""
    good = json.dumps({**CLOUD, "type": "ours", "data": 0.1})
    bad = json.dumps({**CLOUD, "id": "2"}).replace('{"a": 1}', poison)
    world = World(a=f"[{bad},{good}]".encode())
    assert await world.drain.drain(lambda: True)
    assert world.delivered == [{**CLOUD, "type": "ours", "data": 0.1}]
    assert world.blobs.blobs == {}
    assert len(world.dead.letters) == 1


async def test_a_blob_stays_until_all_of_it_is_dealt_with() -> None:
    """An outage keeps it, not the others; the second time nothing is recorded twice."""
    world = World(a=blob(CLOUD, {**CLOUD, "type": "ours"}), b=blob({**CLOUD, "id": "3"}))
    world.away = True
    await world.drain.drain(lambda: True)
    assert list(world.blobs.blobs) == ["a"]
    world.away = False
    await world.drain.drain(lambda: True)
    assert world.blobs.blobs == {}
    assert len(world.dead.letters) == 2
    assert len(world.delivered) == 1


async def test_a_drain_ends_with_its_time_and_leaves_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(a=blob(CLOUD), b=blob(CLOUD))
    assert not await world.drain.drain(lambda: False)
    assert len(world.blobs.blobs) == 2
    monkeypatch.setattr("shared.undelivered.drain.LARGEST", 10)
    assert await world.drain.drain(lambda: True)
    assert len(world.blobs.blobs) == 2


async def test_what_stays_keeps_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it much, and every run short: each goes on where the one before ended, and the last of them begins anew."""
    monkeypatch.setattr("shared.undelivered.drain.LARGEST", 500)
    large = {f"a{number:04}": b"x" * 1_000 for number in range(1_200)}
    world = World(**large, b=blob({**CLOUD, "type": "ours"}))
    for _ in range(3):
        left = iter([True] * 500)
        done = await world.drain.drain(lambda left=left: next(left, False))  # type: ignore[misc]
    assert done
    assert len(world.delivered) == 1
    assert world.blobs.blobs == large
    world.blobs.blobs["a"] = blob({**CLOUD, "type": "ours"})
    assert await world.drain.drain(lambda: True)
    assert len(world.delivered) == 2
