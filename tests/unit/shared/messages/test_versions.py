"""Earlier versions of a message reach the handler of the latest; what is stored stays as it was sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest

from shared.classification import Confidential, WrongMarkers
from shared.messages import Contract, Integration, InvalidMessage, Registry, UnknownVersion
from shared.testing import Memory, run
from shared.work import Work

GOLDEN = Path(__file__).parent / "versions"


class Money(Contract):
    amount: str
    currency: str


class Paid(Contract):
    payment_id: str
    total: Money
    channel: str


class FirstPaid(Contract):
    payment_id: str
    amount: str


def payments(model: type[Contract] | None = None) -> Integration:
    made = Integration("payments")

    @made.handles("payment.made", version="2.0", key="paymentId", route="payments")
    async def paid(payment: Paid, work: Work) -> None:
        await work.save("payment", payment.payment_id, payment)

    @made.upcasts("payment.made", "1.0", to="1.1", model=model)
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        data["currency"] = "EUR"
        return data

    @made.upcasts("payment.made", "1.1", to="2.0")
    def with_money(data: dict[str, Any]) -> dict[str, Any]:
        money = {"amount": data["amount"], "currency": data["currency"]}
        return {"paymentId": data["paymentId"], "total": money, "channel": "web"}

    return made


FILES = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(GOLDEN.glob("*.json"))}


@pytest.mark.parametrize("name", FILES)
async def test_messages_of_every_version_that_was_ever_sent_are_read(name: str) -> None:
    golden = FILES[name]
    outcome = await run(payments(), "payment.made", golden["data"], version=golden["version"])
    assert outcome.saved["payment", "P-1"].model_dump(mode="json", by_alias=True) == golden["becomes"]


async def test_the_same_message_again_is_a_duplicate_by_what_was_sent() -> None:
    memory, integration = Memory(), payments()
    data = {"paymentId": "P-1", "amount": "9.90"}
    first = await memory.run(integration, "payment.made", data, version="1.0")
    again = await memory.run(integration, "payment.made", data, version="1.0", message_id=first.message_id)
    assert (first.done, again.duplicate) == (True, True)


async def test_what_a_step_does_not_find_is_named() -> None:
    outcome = await run(payments(), "payment.made", {"paymentId": "P-1"}, version="1.0")
    assert outcome.invalid is not None
    assert outcome.invalid["message"] == "data.amount: must be given"
    outcome = await run(payments(FirstPaid), "payment.made", {"paymentId": "P-1", "amount": 9}, version="1.0")
    assert outcome.invalid is not None
    assert outcome.invalid["message"].startswith("data.amount: ")
    outcome = await run(payments(), "payment.made", {"paymentId": 7, "amount": "1"}, version="1.0")
    assert outcome.invalid is not None
    assert outcome.invalid["message"].startswith("data.paymentId: ")


@pytest.mark.parametrize("model", [None, FirstPaid], ids=["bare", "model"])
async def test_a_value_that_a_step_does_not_find_is_not_told(model: type[Contract] | None) -> None:
    made = Integration("payments")

    @made.handles("payment.made", version="2.0", key="paymentId", route="payments")
    async def paid(payment: Paid, work: Work) -> None: ...

    @made.upcasts("payment.made", "1.0", to="2.0", model=model)
    def by_table(data: dict[str, Any]) -> dict[str, Any]:
        return {"channel": {"9.90": "web"}[data["amount"]]}

    sent = {"paymentId": "P-1", "amount": "anne@example.com"}
    outcome = await run(made, "payment.made", sent, version="1.0")
    assert outcome.invalid is not None
    assert outcome.invalid["message"] == "data: can't be brought from version 1.0 to 2.0"
    assert "anne" not in str(outcome.invalid)


async def test_a_step_that_fails_or_gives_no_object_makes_the_message_invalid() -> None:
    made = payments()

    @made.upcasts("payment.made", "0.9", to="1.0")
    def broken(data: dict[str, Any]) -> dict[str, Any]:
        return data["lines"]  # type: ignore[no-any-return]

    empty: tuple[Any, ...] = ([], None, {})
    for lines in empty:
        outcome = await run(made, "payment.made", {"lines": lines}, version="0.9")
        assert outcome.invalid is not None


def test_a_step_gets_a_copy_and_unknown_versions_stay_unknown() -> None:
    handler = Registry([payments()]).handler("payment.made", "1.0")
    body = json.dumps(
        {
            "messageId": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10",
            "timestamp": "2026-01-05T08:26:00Z",
            "source": "/t",
            "eventType": "payment.made",
            "version": "1.0",
            "data": {"paymentId": "P-1", "amount": "9.90"},
        }
    ).encode()
    assert handler.decode(body).data == handler.decode(body).data
    assert handler.decode(body).version == "1.0"
    with pytest.raises(UnknownVersion):
        Registry([payments()]).handler("payment.made", "3.0")
    with pytest.raises(InvalidMessage):
        handler.decode(b"[]")


def test_steps_that_lead_nowhere_stop_the_start() -> None:
    def step(data: dict[str, Any]) -> dict[str, Any]:
        return data

    for version, to, why in (
        ("0.8", "0.9", "nobody handles"),
        ("1.0", "2.0", "brought up twice"),
        ("2.0", "1.0", "handled as well"),
    ):
        made = payments()
        made.upcasts("payment.made", version, to=to)(step)
        with pytest.raises(ValueError, match=why):
            Registry([made])
    made = payments()
    made.upcasts("payment.made", "a", to="b")(step)
    made.upcasts("payment.made", "b", to="a")(step)
    with pytest.raises(ValueError, match="nobody handles"):
        Registry([made])
    made = Integration("alone")
    made.upcasts("payment.made", "1.0", to="2.0")(step)
    with pytest.raises(ValueError, match="nobody handles"):
        Registry([made])


def test_a_step_is_a_plain_function() -> None:
    async def step(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(TypeError, match="plain function"):
        payments().upcasts("payment.made", "0.9", to="1.0")(step)


class Person(Contract):
    person_id: str
    name: Annotated[str, Confidential]


class FirstPerson(Contract):
    person_id: str
    full_name: Annotated[str, Confidential]


def test_what_is_protected_has_to_be_known_in_the_earlier_version_too() -> None:
    def people(model: type[Contract] | None) -> Integration:
        made = Integration("people")

        @made.handles("person.known", version="1.1", key="personId")
        async def known(person: Person, work: Work) -> None: ...

        @made.upcasts("person.known", "1.0", to="1.1", model=model)
        def renamed(data: dict[str, Any]) -> dict[str, Any]:
            return {"personId": data["personId"], "name": data["fullName"]}

        return made

    for model in (None, FirstPaid):
        with pytest.raises(WrongMarkers, match="protected fields"):
            Registry([people(model)])
    handler = Registry([people(FirstPerson)]).handler("person.known", "1.0")
    assert "fullName" in handler.plan.fields
