"""Read models: facts become rows, and a poison fact is parked while the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.dead_letters import DeadLetterStore
from shared.messages import CloudEvent, Contract, Integration, Registry
from shared.query import Projector, ReadModels, ViewRow
from shared.streams import StreamEvent
from shared.tables.formats import TransactionFailed
from shared.tables.memory import MemoryTable
from tests.unit.memory import MemoryDeadLetters, MemoryViews

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Counted(Contract):
    """A fact, and what is shown of it."""

    count: int
    behave: str = "well"


def shelf() -> Integration:
    """An integration with two views of one fact."""
    shelf = Integration("shelf")

    @shelf.projects("stock.counted", into="stock")
    def row(counted: Counted) -> Counted:
        if counted.behave == "raises":
            raise ZeroDivisionError
        if counted.behave == "returns nothing":
            return cast("Counted", None)
        if counted.behave == "grows":
            return Counted(count=1, behave="x" * 1_000_000)
        return counted

    @shelf.projects("stock.counted", into="audit")
    def same(counted: Counted) -> Counted:
        return counted

    return shelf


class World:
    """A projector with memory around it."""

    def __init__(self) -> None:
        self.views, self.dead = MemoryViews(), MemoryDeadLetters()
        self.projector = Projector(
            Registry([shelf()]),
            cast("ReadModels", self.views),
            cast("DeadLetterStore", self.dead),
            now=lambda: NOW,
        )

    async def project(self, *bodies: bytes) -> None:
        """One batch of one partition."""
        await self.projector.project(
            [
                StreamEvent(body=body, partition="2", offset=str(number * 10), sequence_number=number)
                for number, body in enumerate(bodies)
            ]
        )

    def shown(self, key: str, view: str = "stock") -> int | None:
        """The count in a view."""
        value = self.views.rows.get((view, key))
        return None if value is None else json.loads(value)["count"]


def fact(key: str = "A", count: int = 1, event_type: str = "stock.counted", *, sequence: int = 0, **data: Any) -> bytes:
    """An event of ours; its sequence is its count unless another one is given."""
    return CloudEvent(
        id=f"{key}:{count}",
        type=event_type,
        source="/sluice",
        subject=key,
        time=NOW,
        version="1.0",
        data=json.dumps({"count": count, **data}),
        correlation_id="c",
        sequence=sequence or (count if isinstance(count, int) else 1),
    ).to_json()


async def test_the_last_fact_of_a_key_is_shown_in_every_view() -> None:
    """Delivered again, it changes nothing."""
    world = World()
    batch = [fact("A", 1), fact("B", 5), fact("A", 2)]
    for _ in range(2):
        await world.project(*batch)
    assert [world.shown(key, view) for view in ("stock", "audit") for key in "AB"] == [2, 5, 2, 5]
    assert world.dead.letters == {}


async def test_an_older_fact_that_comes_late_changes_nothing() -> None:
    """A replayed event must not turn a row back."""
    world = World()
    await world.project(fact("A", 1), fact("A", 2))
    await world.project(fact("A", 1))
    assert world.shown("A") == 2
    await world.project(fact("A", 40, sequence=4), fact("A", 30, sequence=3))
    assert world.shown("A") == 40


async def test_facts_that_nobody_shows_and_empty_batches_are_fine() -> None:
    """They write nothing."""
    world = World()
    await world.project(fact(event_type="stock.burnt"))
    await world.project()
    assert world.views.rows == {}


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        (b"", "MALFORMED_JSON"),
        (b"\xff", "MALFORMED_JSON"),
        (b"[" * 100_000, "MALFORMED_JSON"),
        (b"{}", "VALIDATION_ERROR"),
        (fact("k" * 129), "VALIDATION_ERROR"),
        (fact(""), "VALIDATION_ERROR"),
        (fact(count=cast("int", "many")), "VALIDATION_ERROR"),
        (fact(behave="raises"), "PROJECTION_ERROR"),
        (fact(behave="returns nothing"), "PROJECTION_ERROR"),
        (fact(behave="grows"), "PROJECTION_ERROR"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_poison_fact_is_parked_with_its_place_and_the_rest_goes_on(poison: bytes, code: str) -> None:
    """Once, however often the batch comes; it would hold the partition for ever otherwise."""
    world = World()
    for _ in range(2):
        await world.project(fact("A", 1), poison, fact("B", 2))
    assert (world.shown("A"), world.shown("B")) == (1, 2)
    (letter,) = world.dead.letters.values()
    assert (letter.code, letter.body, letter.source) == (code, poison, "events")
    assert letter.position == {"partition": "2", "offset": "10", "sequenceNumber": 1}


def changed(body: bytes, **attributes: object) -> bytes:
    """An event with other attributes."""
    return json.dumps(json.loads(body) | attributes).encode()


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        (changed(fact(), sequence=str(10**20)), "VALIDATION_ERROR"),
        (changed(fact(), sequence=10**20), "VALIDATION_ERROR"),
        (changed(fact(), sequence=2**63), "VALIDATION_ERROR"),
        (changed(fact(), sequence=1e300), "VALIDATION_ERROR"),
        (changed(fact(), sequence=-1), "VALIDATION_ERROR"),
        (changed(fact(), sequence=True), "VALIDATION_ERROR"),
        (changed(fact(), sequence=None), "VALIDATION_ERROR"),
        (changed(fact(), sequence="1_0"), "VALIDATION_ERROR"),
        (changed(fact(), sequence="9" * 5_000), "VALIDATION_ERROR"),
        (fact("/" * 128, 3), "fine"),
        (fact("\x00\x7f\x85" * 40, 3), "fine"),
        (fact("\U0001f600" * 128, 3), "fine"),
        (changed(fact("C", 3), id="\x00" * 256), "fine"),
        (changed(fact("C", 3), source="s" * 100_000, correlationid="c" * 100_000), "fine"),
        (changed(fact("C", 3), time="9999-12-31T23:59:59-14:00"), "fine"),
    ],
)
async def test_whatever_an_event_says_it_hurts_no_other(poison: bytes, code: str) -> None:
    """The table is as strict as the service's: what it refused would come again for ever."""
    world = World()
    table = MemoryTable("readmodels")
    views = ReadModels(table)
    world.projector = Projector(Registry([shelf()]), views, cast("DeadLetterStore", world.dead), now=lambda: NOW)
    for _ in range(2):
        await world.project(fact("A", 1), poison, fact("B", 2))
    shown = [await views.get("stock", key) for key in "AB"]
    assert [json.loads(row or "{}")["count"] for row in shown] == [1, 2]
    assert [letter.code for letter in world.dead.letters.values()] == ([] if code == "fine" else [code])


async def test_what_a_store_refuses_is_its_events_alone() -> None:
    """Though it looked well; the others are stored, and an outage in the middle of them is no refusal."""

    class Strict(MemoryViews):
        async def put(self, rows: Sequence[ViewRow]) -> None:
            if any(row.key == "poison" for row in rows):
                raise ExceptionGroup("rows", [TransactionFailed(400, "PropertyValueTooLarge", "0:too large")])
            await super().put(rows)

    world = World()
    world.views = Strict()
    world.projector = Projector(
        Registry([shelf()]), cast("ReadModels", world.views), cast("DeadLetterStore", world.dead), now=lambda: NOW
    )
    world.views.broken = ServiceRequestError("away")
    with pytest.raises(ServiceRequestError):
        await world.project(fact("A", 1), fact("poison", 1), fact("B", 2))
    assert world.dead.letters == {}
    world.views.broken = None
    await world.project(fact("A", 1), fact("poison", 1), fact("B", 2))
    assert (world.shown("A"), world.shown("B")) == (1, 2)
    (letter,) = world.dead.letters.values()
    assert (letter.code, letter.key, letter.position["sequenceNumber"]) == ("PROJECTION_ERROR", "poison", 1)


@pytest.mark.parametrize("traceparent", [5, "x", [], {"a": 1}, True, "t" * 100_000])
async def test_a_strange_trace_does_not_stop_a_fact(traceparent: object) -> None:
    """It is shown without a link."""
    world = World()
    event = json.loads(fact("A", 7)) | {"traceparent": traceparent}
    await world.project(json.dumps(event).encode())
    assert world.shown("A") == 7


@pytest.mark.parametrize("edge", ["views", "dead"])
async def test_storage_errors_leave_for_the_retry_policy(edge: str) -> None:
    """The partition waits; nothing is skipped."""
    world = World()
    getattr(world, edge).broken = ServiceRequestError("x")
    with pytest.raises(ServiceRequestError):
        await world.project(fact("A", 1), b"poison")
    getattr(world, edge).broken = None
    await world.project(fact("A", 1), b"poison")
    assert world.shown("A") == 1
    assert len(world.dead.letters) == 1
