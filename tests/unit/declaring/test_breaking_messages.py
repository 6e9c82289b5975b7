"""What a changed contract of a message breaks for who sends or reads it."""

from __future__ import annotations

import copy
from typing import Any

from functions.contracts import contracts
from local.declaring.compatibility import breaking_messages
from shared.messages import Contract, Integration, Registry
from shared.work import Work
from tests.unit.shared.messages.test_versions import FirstPaid, payments


class Row(Contract):
    key: str


class Happened(Contract):
    key: str
    note: str


def document(*integrations: Integration) -> dict[str, Any]:
    return contracts(Registry(integrations), hub="events")


def first() -> Integration:
    made = Integration("payments")

    @made.handles("payment.made", key="paymentId")
    async def paid(payment: FirstPaid, work: Work) -> None: ...

    return made


def shown() -> Integration:
    made = Integration("shown")

    @made.projects("thing.happened", into="things")
    def row(event: Happened) -> Row:
        return Row(key=event.key)

    return made


def test_a_new_version_that_brings_the_old_ones_up_breaks_nobody() -> None:
    old = document(first())
    assert breaking_messages(old, document(payments(FirstPaid))) == []
    assert breaking_messages(old, document(payments())) == []


def test_a_version_that_nobody_takes_any_more_does() -> None:
    old = document(payments(FirstPaid))
    assert [tuple(one) for one in breaking_messages(old, document(first()))] == [
        ("message-removed", "command-payment.made-2.0"),
        ("message-removed", "command-payment.made-1.1"),
    ]


def test_a_command_may_only_widen_and_an_event_only_narrow() -> None:
    old = document(first(), shown())
    assert breaking_messages(old, copy.deepcopy(old)) == []
    needs = copy.deepcopy(old)
    needs["components"]["schemas"]["FirstPaid"]["required"].append("channel")
    assert [one.rule for one in breaking_messages(old, needs)] == ["new-required-request-property"]
    assert breaking_messages(needs, old) == []
    less = copy.deepcopy(old)
    happened = less["components"]["schemas"]["Happened"]
    happened["required"].remove("note")
    del happened["properties"]["note"]
    assert [one.rule for one in breaking_messages(old, less)] == ["response-required-property-removed"]
    assert breaking_messages(less, old) == []
