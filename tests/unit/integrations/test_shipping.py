"""Accepted orders get their labels, whichever carrier is chosen, and its news is kept once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integrations.orders import orders, shipping
from integrations.orders.carriers import carrier_name
from integrations.orders.express import express
from integrations.orders.express import moves as express_moves
from integrations.orders.post import moves as post_moves
from integrations.orders.post import post
from integrations.orders.shipping import Shipment
from shared.partners import Partner, Polled
from shared.testing import AnsweringPartner, Memory, Outcome

ORDER = {
    "orderId": "536365",
    "placedAt": "2026-01-05T08:26:00Z",
    "customerId": "17850",
    "name": "A. Person",
    "address": "1 Example Street",
    "country": "France",
    "lines": [{"sku": "85123A", "quantity": 6, "unitPrice": "2.55"}],
}
MADE = {"express": ("POST", "/labels", {"id": "L1"}), "post": ("PUT", "/consignments/536365", {"id": "536365"})}
PARTNERS = {"express": express, "post": post}
AT = "2026-01-05T09:00:00Z"


def told(carrier: str, status: str, at: str = AT) -> dict[str, Any]:
    """The body of a webhook."""
    own = {"reference": "536365", "status": status} if carrier == "express" else {"id": "536365", "state": status}
    return {"type": "moved", "data": {**own, "updatedAt": at}}


async def shipped(memory: Memory) -> Outcome:
    """An order is accepted, and what follows from it is done."""
    accepted = await memory.run(orders, "order.placed", ORDER)
    ((kind, wanted),) = accepted.sent
    return await memory.run(shipping, kind, wanted)


@pytest.fixture(params=["express", "post"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AnsweringPartner:
    """Each carrier, chosen by the setting, with an answer to what it is asked."""
    monkeypatch.setenv("ORDERS_CARRIER", request.param)
    partner: Partner = PARTNERS[request.param]
    api = AnsweringPartner(partner)
    method, path, answer = MADE[request.param]
    api.answers(method, path, answer)
    return api


async def test_an_order_gets_its_label(carrier: AnsweringPartner) -> None:
    """Though the carrier stumbles."""
    carrier.answers(status=503, times=1)
    memory = Memory(others=[shipping, orders], partners=[carrier])
    done = await shipped(memory)
    name = carrier.partner.name
    tracking = {"express": "L1", "post": "post-536365"}[name]
    assert done.published == (("order.shipped", Shipment(order_id="536365", carrier=name, tracking=tracking)),)
    first, second = carrier.asked
    assert first.body == second.body
    assert "A. Person" in json.dumps(first.body)
    assert first.headers.get("Idempotency-Key") == second.headers.get("Idempotency-Key")
    assert ("Idempotency-Key" in first.headers) == (name == "express")


async def test_an_order_that_is_changed_keeps_its_label(carrier: AnsweringPartner) -> None:
    """One order, one parcel, however often it is sent."""
    memory = Memory(others=[shipping, orders], partners=[carrier])
    await shipped(memory)
    changed = await memory.run(orders, "order.placed", {**ORDER, "country": "Spain"})
    assert changed.done
    assert changed.sent == ()
    again = await memory.run(shipping, "order.ship", {"orderId": "536365"})
    assert (again.done, again.published, len(carrier.asked)) == (True, (), 1)


async def test_news_is_kept_once_and_in_order(carrier: AnsweringPartner) -> None:
    """By webhook and poll, before the label is kept and after it."""
    name = carrier.partner.name
    words = {"express": ("collected", "delivered", "printed"), "post": ("accepted", "handed-over", "weighed")}[name]
    memory = Memory(others=[shipping, orders], partners=[carrier])
    source = f"webhook:{name}:*"
    early = await memory.run(shipping, source, told(name, words[0]))
    assert early.done
    await shipped(memory)
    kept = memory.state["shipment", "536365"]
    assert isinstance(kept, Shipment)
    assert (kept.status, kept.carrier, memory.views["shipments", "536365"]) == ("collected", name, kept)
    for status, at, emitted in (
        (words[1], "2026-01-05T10:00:00Z", 1),
        (words[1], "2026-01-05T10:00:00Z", 0),
        (words[0], AT, 0),
        (words[2], "2026-01-05T11:00:00Z", 0),
    ):
        outcome = await memory.run(shipping, source, told(name, status, at))
        assert (outcome.done, len(outcome.published)) == (True, emitted)
    move = {"orderId": "536365", "status": "delivered", "at": "2026-01-05T10:00:00Z"}
    polled = await memory.run(shipping, "order.parcel-moved", move)
    assert polled.published == ()
    assert memory.state["shipment", "536365"].status == "delivered"  # type: ignore[attr-defined]


async def test_an_order_that_is_unknown_is_not_shipped(carrier: AnsweringPartner) -> None:
    """Nobody says where it should go."""
    outcome = await Memory(partners=[carrier]).run(shipping, "order.ship", {"orderId": "1"})
    assert outcome.rejected == "there is no such order"
    assert carrier.asked == []


async def test_without_a_carrier_nothing_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order is accepted as before; a command that waits meanwhile says what is missing."""
    monkeypatch.delenv("ORDERS_CARRIER", raising=False)
    memory = Memory(others=[shipping, orders])
    accepted = await memory.run(orders, "order.placed", ORDER)
    assert (accepted.done, accepted.sent) == (True, ())
    refused = await memory.run(shipping, "order.ship", {"orderId": "536365"})
    assert "ORDERS_CARRIER" in (refused.rejected or "")


def test_a_carrier_that_is_unknown_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the setting."""
    monkeypatch.setenv("ORDERS_CARRIER", "pigeon")
    with pytest.raises(ValueError, match="ORDERS_CARRIER is 'pigeon'"):
        carrier_name()


@pytest.mark.parametrize("name", ["express", "post"])
def test_a_page_becomes_moves(name: str) -> None:
    """Each item under an identity of its state; what says nothing is passed over, and counts for the position."""
    poll = {"express": express_moves, "post": post_moves}[name]
    words = {"express": ("labels", "collected", "printed"), "post": ("consignments", "accepted", "weighed")}[name]
    first, other = told(name, words[1])["data"], told(name, words[2], "2026-01-05T12:00:00Z")["data"]
    page = poll.page.model_validate_json(json.dumps({words[0]: [first, other], "nextPage": "2"}))
    found: Polled = poll.read(page)
    assert [one.identity for one in found.items] == ["536365 2026-01-05T09:00:00.000Z"]
    assert (found.position, found.more) == ("2026-01-05T12:00:00.000Z", {"page": "2"})
