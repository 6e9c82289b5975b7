"""Reading a stream: each event once, a poison event set aside, the rest goes on, whoever consumes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dead_letters import DeadLetterStore
from shared.encryption import KeysUnavailable, UnknownKey
from shared.messages import CloudEvent, Contract, ErrorCode
from shared.streams import StreamEvent, StreamReader
from tests.unit.memory import MemoryDeadLetters

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Count(Contract):
    """An event's data."""

    count: int


class World:
    """A reader whose consumer keeps what it is given."""

    def __init__(self) -> None:
        self.dead = MemoryDeadLetters()
        self.consumed: list[str] = []
        self.error: Exception | None = None
        self.reader = StreamReader(
            cast("DeadLetterStore", self.dead),
            consumer="a test",
            source="lake",
            failure=ErrorCode.PROJECTION_ERROR,
            now=lambda: NOW,
        )

    async def consume(self, event: CloudEvent) -> list[int]:
        """Its count, unless the consumer fails."""
        self.consumed.append(event.id)
        if self.error is not None:
            raise self.error
        return [(await self.reader.decrypt(event, Count)).count]

    async def read(self, *events: StreamEvent) -> list[int]:
        """What was made of a batch."""
        return (await self.reader.read(events, self.consume)).made


def at(position: int, count: int = 1, *, identity: str = "", partition: str = "0") -> StreamEvent:
    """An event at a position."""
    event = CloudEvent(
        id=identity or f"e{count}",
        type="stock.counted",
        source="/sluice",
        subject="A",
        time=NOW,
        version="1.0",
        data=json.dumps({"count": count}),
        correlation_id="c",
        sequence=1,
    )
    return StreamEvent(body=event.to_json(), partition=partition, offset=str(position), sequence_number=position)


@given(st.lists(st.integers(0, 5), max_size=30))
async def test_what_was_published_twice_is_consumed_once(counts: list[int]) -> None:
    """In one batch or several; the order is that of the first time."""
    world = World()
    made: list[int] = []
    for position, count in enumerate(counts):
        made += await world.read(at(position, count))
    assert made == list(dict.fromkeys(counts))
    whole = World()
    assert await whole.read(*(at(position, count) for position, count in enumerate(counts))) == made


async def test_a_redelivered_event_is_read_anew() -> None:
    """What came of it the first time may not have been stored."""
    world = World()
    assert await world.read(at(1, 1), at(2, 2)) == [1, 2]
    assert await world.read(at(1, 1), at(2, 2)) == [1, 2]


async def test_another_event_under_a_known_id_is_no_duplicate() -> None:
    """A publisher's mistake hides nothing."""
    world = World()
    assert await world.read(at(1, 1, identity="same"), at(2, 2, identity="same")) == [1, 2]


async def test_a_poison_event_is_dead_lettered_under_its_source_and_the_rest_goes_on() -> None:
    """Consumers' dead letters don't overwrite each other's."""
    world = World()
    poison = StreamEvent(body=b"{", partition="3", offset="70", sequence_number=7)
    assert await world.read(at(1, 1), poison, at(8, 2)) == [1, 2]
    ((identity, letter),) = world.dead.letters.items()
    assert identity
    assert (letter.source, letter.code, letter.category) == ("lake", "MALFORMED_JSON", "invalid")
    assert letter.identity == "lake:3:7"
    assert letter.position == {"partition": "3", "offset": "70", "sequenceNumber": 7}


async def test_a_consumers_error_is_its_events_alone() -> None:
    """It is the consumer's own code."""
    world = World()
    world.error = ZeroDivisionError("no")
    assert await world.read(at(1, 1)) == []
    (letter,) = world.dead.letters.values()
    assert (letter.code, letter.category, letter.key) == ("PROJECTION_ERROR", "permanent", "A")


async def test_an_event_that_nobody_can_decrypt_or_decode_is_poison() -> None:
    """Its neighbours are consumed."""
    world = World()
    world.error = UnknownKey("nobody has the key")
    assert await world.read(at(1, 1)) == []
    world.error = None
    value = StreamEvent(body=b"text", partition="0", offset="20", sequence_number=2, unreadable="An AMQP value.")
    assert await world.read(value, at(3, 3)) == [3]
    first, second = world.dead.letters.values()
    assert (first.code, second.code, second.reason, second.body) == (
        "UNREADABLE", "VALIDATION_ERROR", "An AMQP value.", b"text",
    )  # fmt: skip
    assert second.position == {"partition": "0", "offset": "20", "sequenceNumber": 2}


async def test_keys_that_are_away_stop_the_batch() -> None:
    """Nothing is wrong with its events."""
    world = World()
    world.error = KeysUnavailable("away")
    with pytest.raises(KeysUnavailable):
        await world.read(at(1, 1))
    assert world.dead.letters == {}
    world.error = None
    assert await world.read(at(1, 1)) == [1]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_strange_time_stops_nothing(time: str) -> None:
    """A poison event would hold its partition for ever, were it by the clock that measures it."""
    world = World()
    event = json.loads(at(1, 1).body) | {"time": time}
    strange = StreamEvent(body=json.dumps(event).encode(), partition="0", offset="1", sequence_number=1)
    assert await world.read(strange, at(2, 2)) == [1, 2]
    assert world.dead.letters == {}


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05", "20260102", 1767323045])
async def test_what_is_no_time_of_rfc_3339_parks_its_event_alone(time: object) -> None:
    """Nobody guesses an offset, or takes digits for seconds since 1970."""
    world = World()
    event = json.loads(at(1, 1).body) | {"time": time}
    wrong = StreamEvent(body=json.dumps(event).encode(), partition="0", offset="1", sequence_number=1)
    assert await world.read(wrong, at(2, 2)) == [2]
    assert len(world.dead.letters) == 1
