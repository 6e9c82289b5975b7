"""Handlers of changes: what they are given, in which order, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.changes import CapturedChange, Change, Feed, Late, Operation, Origin, UnreadableChange, position_text
from shared.messages import Contract, Integration, Registry
from shared.testing import Memory
from shared.work import Work

ORIGIN = Origin(connector="postgresql", name="crm", database="crm", schema="public", table="customers")
TYPE = "change:public.customers"


class Customer(Contract):
    id: int
    first_name: str
    balance: Decimal = Decimal(0)


class Known(Contract):
    names: tuple[str, ...] = ()
    gone: bool = False


def crm(late: Late = Late.SKIP, **options: Any) -> Integration:
    made = Integration("crm")

    @made.changes("public.customers", key="id", late=late, **options)
    async def customer(change: Change[Customer], work: Work) -> None:
        known = await work.load("customer", change.key, Known) or Known()
        name = "gone" if change.after is None else change.after.first_name
        await work.save("customer", change.key, Known(names=(*known.names, name), gone=change.removes))

    return made


def captured(operation: str, lsn: int, name: str = "Anne", **more: Any) -> CapturedChange:
    row = {"id": 1, "first_name": name, "balance": "12.50"}
    return CapturedChange(
        operation=Operation(operation),
        origin=ORIGIN,
        before={"id": 1} if operation in "ud" else None,
        after=None if operation in "dt" else row,
        position=position_text(lsn),
        **more,
    )


def data(integration: Integration, change: CapturedChange) -> dict[str, Any]:
    (feed,) = Registry([integration]).feeds
    return feed.content(change)


async def test_changes_of_a_key_reach_the_handler_as_rows_of_their_model() -> None:
    integration, memory = crm(), Memory()
    for number, change in enumerate((captured("c", 1), captured("u", 2, "Bea"), captured("d", 3))):
        outcome = await memory.run(integration, TYPE, data(integration, change), message_id=change.message_id)
        assert outcome.done, number
    assert memory.state["customer", "1"] == Known(names=("Anne", "Bea", "gone"), gone=True)


async def test_a_change_that_comes_after_a_later_one_is_left_out() -> None:
    integration, memory = crm(), Memory()
    for change in (
        captured("u", 5, "new"),
        captured("u", 4, "old"),
        captured("u", 5, "same"),
        captured("u", 6, "last"),
    ):
        assert (await memory.run(integration, TYPE, data(integration, change))).done
    assert memory.state["customer", "1"] == Known(names=("new", "same", "last"))


async def test_or_is_a_dead_letter_where_every_step_counts() -> None:
    integration, memory = crm(Late.DEAD_LETTER), Memory()
    await memory.run(integration, TYPE, data(integration, captured("u", 5)))
    outcome = await memory.run(integration, TYPE, data(integration, captured("u", 4)))
    assert outcome.rejected is not None
    assert "later change" in outcome.rejected


class Line(Contract):
    id: int
    customer_id: int


def lines(**options: Any) -> Integration:
    made = Integration("lines")

    @made.changes("public.lines", key="customer_id", **options)
    async def line(change: Change[Line], work: Work) -> None:
        known = await work.load("lines", change.key, Known) or Known()
        name = "gone" if change.after is None else str(change.after.id)
        await work.save("lines", change.key, Known(names=(*known.names, name)))

    return made


def of_line(number: int, lsn: int, key: dict[str, Any]) -> CapturedChange:
    row = {"id": number, "customer_id": 7}
    return CapturedChange(operation=Operation.UPDATE, origin=ORIGIN, after=row, position=position_text(lsn), key=key)


@pytest.mark.parametrize(("declared", "told"), [({"row_key": "id"}, False), ({}, True)], ids=["declared", "told"])
async def test_late_is_judged_by_row_not_by_key(declared: dict[str, Any], told: bool) -> None:
    integration, memory = lines(**declared), Memory()
    for number, lsn in ((2, 9), (1, 5), (1, 4), (1, 6), (2, 8)):
        change = of_line(number, lsn, {"id": number} if told else {})
        assert (await memory.run(integration, "change:public.lines", data(integration, change))).done
    assert memory.state["lines", "7"] == Known(names=("2", "1", "1"))


async def test_a_message_is_handled_whenever_it_comes() -> None:
    integration, memory = crm(), Memory()
    for number, lsn in enumerate((5, 4, 6)):
        outcome = await memory.run(integration, TYPE, data(integration, captured("m", lsn, f"n{number}")))
        assert outcome.done
    assert memory.state["customer", "1"] == Known(names=("n0", "n1", "n2"))


async def test_a_database_that_was_set_up_anew_is_not_late() -> None:
    integration, memory = crm(), Memory()
    before, after = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    for change in (captured("c", 900, "one", time=before), captured("c", 3, "two", time=after)):
        await memory.run(integration, TYPE, data(integration, change))
    assert memory.state["customer", "1"] == Known(names=("one", "two"))


async def test_the_same_change_twice_is_one_message() -> None:
    integration, memory, change = crm(), Memory(), captured("c", 1)
    again = captured("c", 1)
    assert change.message_id == again.message_id
    await memory.run(integration, TYPE, data(integration, change), message_id=change.message_id)
    outcome = await memory.run(integration, TYPE, data(integration, again), message_id=again.message_id)
    assert outcome.duplicate


def test_a_key_alone_is_no_row_from_before() -> None:
    """Also where the model has defaults for all the rest: they would be told as what the row had."""
    made = Integration("crm")

    class Loose(Contract):
        id: int
        first_name: str | None = None

    @made.changes("public.customers", key="id")
    async def customer(change: Change[Loose], work: Work) -> None: ...

    deleted = captured("d", 1, key={"id": 1})
    assert "before" not in data(made, deleted)
    assert data(made, replace(deleted, before={"id": 1, "first_name": None}))["before"]["first_name"] is None


async def test_a_truncation_is_a_dead_letter_unless_the_handler_takes_it() -> None:
    integration = crm()
    content = data(integration, captured("t", 9))
    assert content["key"] == "public.customers"
    refused = await Memory().run(integration, TYPE, content)
    assert refused.rejected is not None
    assert "truncates=True" in refused.rejected
    taking = crm(truncates=True)
    assert (await Memory().run(taking, TYPE, data(taking, captured("t", 9)))).done


def test_a_row_from_before_is_given_where_it_is_whole() -> None:
    feed = Feed(table="t", key=("id",), row=Customer)
    whole = CapturedChange(
        operation=Operation.UPDATE,
        origin=ORIGIN,
        before={"id": 1, "first_name": "A"},
        after={"id": 1, "first_name": "B"},
    )
    assert feed.content(whole)["before"] == {"id": 1, "first_name": "A"}
    assert "before" not in feed.content(captured("u", 1))
    assert feed.content(captured("d", 1))["key"] == "1"


def test_a_change_without_its_key_is_refused() -> None:
    with pytest.raises(UnreadableChange, match="the key id"):
        Feed(table="t", key=("id",), row=Customer).content(
            CapturedChange(operation=Operation.DELETE, origin=ORIGIN, before={"id": None}, key={"id": True})
        )


async def test_what_the_model_cannot_read_is_invalid() -> None:
    integration = crm()
    broken = CapturedChange(operation=Operation.CREATE, origin=ORIGIN, after={"id": 1, "first_name": 7})
    outcome = await Memory().run(integration, TYPE, data(integration, broken))
    assert outcome.invalid is not None


def test_a_declaration_names_what_is_wrong_with_it() -> None:
    wrong = Integration("wrong")

    async def bare(row: Customer, work: Work) -> None: ...

    async def fine(change: Change[Customer], work: Work) -> None: ...

    with pytest.raises(TypeError, match=r"Change\[...\]"):
        wrong.changes("t", key="id")(bare)
    with pytest.raises(TypeError, match="no field 'nope'"):
        wrong.changes("t", key="nope")(fine)
    with pytest.raises(ValueError, match="without spaces"):
        wrong.changes("a table", key="id")(fine)
    with pytest.raises(TypeError, match="no field 'nope'"):
        wrong.changes("t", key="id", row_key=["id", "nope"])(fine)
    wrong.changes("t", key="firstName")(fine)
    assert Registry([wrong]).feeds[0].key == ("firstName", "first_name")
    twice = Integration("twice")
    twice.changes("t", key="id")(fine)
    with pytest.raises(ValueError, match="handled twice"):
        Registry([wrong, twice])


def test_a_table_is_found_by_its_most_exact_name() -> None:
    made = Integration("made")

    async def fine(change: Change[Customer], work: Work) -> None: ...

    made.changes("customers", key="id")(fine)
    made.changes("crm.public.customers", key="id")(fine)
    registry = Registry([made])
    found = registry.changes(ORIGIN.tables)
    assert found is not None
    assert found.event_type == "change:crm.public.customers"
    assert registry.changes(["public.orders"]) is None
